"""`jaxrl bench`: its arguments, and what they start."""

import argparse
from pathlib import Path
from typing import Any

from jaxrl.errors import UserError

SCRIPTS = ("optimal", "star", "chain", "flood", "constant", "silent", "garbled")
SAMPLING = ("temperature", "top_p", "max_tokens", "seed")


def add_benchmarks(command: argparse.ArgumentParser) -> None:
    """Add a command for each benchmark."""
    benchmarks = command.add_subparsers(metavar="BENCHMARK", required=True)
    silo = benchmarks.add_parser(
        "silo", help=run_silo.__doc__, description=run_silo.__doc__, allow_abbrev=False
    )
    silo.set_defaults(run=run_silo)
    _matrix_arguments(silo)
    _rules_arguments(silo)
    _server_arguments(silo)


def run_silo(args: argparse.Namespace) -> None:
    """Run Silo-Bench: teams of agents that each hold a part of an input.

    What has a result is not run again, and a run that was cut off goes on.
    """
    import asyncio

    from jaxrl.bench.silo import Bench, Matrix
    from jaxrl.bench.silo_report import write_report
    from jaxrl.rollout.chat_server import ServedAgent
    from jaxrl.tasks.silo.agents import SCRIPTED

    matrix = Matrix(tuple(args.tasks), tuple(args.agents), tuple(args.protocols))
    server, settings = _server(args), _settings(args)
    label = args.label or settings.agent.replace("/", "_")
    if Path(label).name != label or label.startswith("."):
        raise UserError(f"label is {label!r}; give a name for a directory")
    concurrency = server.concurrency if server else 1
    bench = Bench(
        args.output / label,
        settings,
        (lambda seat: ServedAgent(server)) if server else SCRIPTED[args.agent],
        concurrency,
        args.transcripts,
    )
    bench.claim()
    if server:
        server.check()
    asyncio.run(bench.run([*matrix.cells(settings)]))
    print(f"wrote {write_report(args.output)}")


def _matrix_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--output", type=Path, default=Path("runs/silo"), help="directory of results"
    )
    command.add_argument("--label", help="of these agents in the report; their name")
    command.add_argument(
        "--agent", choices=SCRIPTS, default="optimal", help="script of all agents"
    )
    command.add_argument(
        "--tasks",
        nargs="+",
        default=["I", "II", "III"],
        metavar="TASK",
        help="levels, or ids as II-11",
    )
    command.add_argument(
        "--agents",
        nargs="+",
        type=int,
        default=[2, 5, 10, 20, 50, 100],
        metavar="N",
        help="team sizes, 2 to 100",
    )
    command.add_argument(
        "--protocols",
        nargs="+",
        choices=("p2p", "bp", "sfs", "solo"),
        default=["p2p", "bp", "sfs"],
        help="messages, broadcasts, shared files; solo: one agent has the whole input",
    )
    command.add_argument(
        "--transcripts", action="store_true", help="keep the conversations"
    )


def _rules_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--rounds", type=int, default=100, help="limit (default: 100)")
    command.add_argument(
        "--calls", type=int, default=1, help="replies in each round (default: 1)"
    )
    command.add_argument(
        "--wire",
        choices=("native", "text"),
        default="native",
        help="calls of tools in their own fields, or written in the text",
    )
    command.add_argument(
        "--prompt",
        choices=("neutral", "release"),
        default="neutral",
        help="the prompts of the release name the best topology",
    )
    command.add_argument(
        "--data-seed", type=int, default=42, help="of the input (default: 42)"
    )
    for flag, text in (
        ("--mended", "vary II-13's answer, and ask everyone for III-21's whole list"),
        ("--push", "messages come by themselves when a round begins"),
        ("--planning", "one reply for a plan before the first round"),
        ("--reminder", "say the protocol again in each round"),
        ("--scratchpad", "advise agents to keep notes"),
    ):
        command.add_argument(flag, action="store_true", help=text)


def _server_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--server.url",
        metavar="URL",
        help="agents are a model behind this OpenAI-compatible API, http://host:8000/v1",
    )
    command.add_argument("--server.model", metavar="NAME", help="that the server lists")
    command.add_argument(
        "--server.api-key-env", metavar="VARIABLE", help="that holds the API key"
    )
    command.add_argument(
        "--server.concurrency", type=int, default=16, help="requests at once"
    )
    command.add_argument(
        "--server.deadline", type=float, default=600.0, help="seconds for a reply"
    )
    for name, kind in zip(SAMPLING, (float, float, int, int), strict=True):
        command.add_argument(
            f"--server.{name.replace('_', '-')}", type=kind, help="the server's default"
        )


def _option(args: argparse.Namespace, name: str) -> Any:
    return vars(args)[f"server.{name}"]


def _server(args: argparse.Namespace):
    """The server that is asked for, if there is one."""
    from jaxrl.rollout.chat_server import ChatServer

    url, model = _option(args, "url"), _option(args, "model")
    if (url is None) != (model is None):
        raise UserError(
            f"server.url is {url} and server.model is {model}; give both, or neither "
            "for scripted agents"
        )
    if url is None:
        return None
    return ChatServer(
        url,
        model,
        _option(args, "api_key_env"),
        _sampling(args),
        concurrency=_option(args, "concurrency"),
        deadline=_option(args, "deadline"),
    )


def _sampling(args: argparse.Namespace) -> dict[str, Any]:
    given = {name: _option(args, name) for name in SAMPLING}
    return {name: value for name, value in given.items() if value is not None}


def _settings(args: argparse.Namespace):
    from jaxrl.bench.silo import Settings

    if args.rounds < 1 or args.calls < 1:
        raise UserError(
            f"rounds is {args.rounds} and calls {args.calls}; give at least 1"
        )
    return Settings(
        agent=_option(args, "model") or args.agent,
        sampling=_sampling(args),
        wire=args.wire,
        prompt=args.prompt,
        rounds=args.rounds,
        calls=args.calls,
        push=args.push,
        planning=args.planning,
        reminder=args.reminder,
        scratchpad=args.scratchpad,
        mended=args.mended,
        seed=args.data_seed,
    )
