"""The command line: `jaxrl train configs/x.py --method.clip-high 0.28`.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
Exit status: 0 done, 1 a crash (with its traceback), 2 a mistake of the user (one line),
75 pre-empted (SIGTERM: `train` finished its step and saved it; run it again with
--resume), 130 interrupted (SIGINT: at once, nothing saved).
"""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from jaxrl import __version__
from jaxrl.bench.arguments import add_benchmarks
from jaxrl.memory import save_memory
from jaxrl.preemption import TRY_AGAIN, Preempted
from jaxrl.serve_arguments import SERVING, add_serve, run_serve

OK, CRASH, MISTAKE, INTERRUPTED = 0, 1, 2, 130
FIELDS = """
Every field of the config can be overridden: --optimizer.learning-rate 1e-6.
`jaxrl train CONFIG.py --help` lists the fields of a config with their values.
"""


QUICKSTART_FIELDS = """
Every field of the part that GRPO trains can be overridden, as with `jaxrl train`:
--seed 1 --output runs/mine --method.clip-high 0.28. Its fields with their values:
`jaxrl train configs/quickstart.py --help`.
"""


def train(args: argparse.Namespace) -> None:
    """Train what a config file describes."""
    from jaxrl.processes import end_alone, is_first, start_processes

    start_processes()

    from jaxrl.overrides import load, override
    from jaxrl.validate import validate
    from jaxrl.watch import watched

    prog = f"jaxrl train {args.config}"
    with end_alone(_status), watched():
        config = override(load(args.config), args.overrides, prog=prog)
        validate(config)

        from jaxrl.train import train

        summary = train(config)
        if is_first():
            print(summary)


def evaluate(args: argparse.Namespace) -> None:
    """Evaluate a checkpoint on the held-out problems of a config."""
    from jaxrl.overrides import load, override
    from jaxrl.validate import validate_evaluation

    prog = f"jaxrl evaluate {args.config}"
    config = override(load(args.config), args.overrides, prog=prog)
    validate_evaluation(config, args.checkpoint, args.samples)

    from jaxrl.inference import evaluate

    evaluation = evaluate(config, args.checkpoint, samples=args.samples)
    print(f"problems  {len(evaluation.records)}")
    for name, value in evaluation.scalars().items():
        print(f"{name}  {value:.4g}")


def sample(args: argparse.Namespace) -> None:
    """Stream the answer to one prompt."""
    from jaxrl.rollout.types import Sampling
    from jaxrl.validate import validate_checkpoint, validate_sampling

    sampling = Sampling(
        max_new_tokens=args.max_tokens,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
    )
    validate_checkpoint(args.checkpoint)
    validate_sampling(sampling)

    from jaxrl.inference import sample

    prompt = [{"role": "user", "content": args.prompt}] if args.chat else args.prompt
    for piece in sample(args.checkpoint, prompt, sampling, seed=args.seed):
        print(piece, end="", flush=True)
    print()


def serve(args: argparse.Namespace) -> None:
    """Serve a checkpoint behind an OpenAI-compatible API, until SIGTERM."""
    run_serve(args)


def export(args: argparse.Namespace) -> None:
    """Write a run's newest checkpoint as a Hugging Face directory."""
    from jaxrl.validate import validate_run

    validate_run(args.run)

    from jaxrl.inference import export

    export(args.run, args.out)
    print(f"wrote {args.out}")


def plan(args: argparse.Namespace) -> None:
    """Say what a run needs on a TPU slice, before there is one."""
    # The TPU compiler is used, not a TPU: JAX must not look for one.
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    kind, _, count = args.topology.partition(":")
    if kind == "cpu" and count.isdecimal():
        flag = f"--xla_force_host_platform_device_count={count}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"

    from jaxrl.overrides import load, override
    from jaxrl.planning.plan import make_plan, search
    from jaxrl.planning.report import report, row

    prog = f"jaxrl plan {args.config}"
    config = override(load(args.config), args.overrides, prog=prog)
    if not args.search:
        print(report(make_plan(config, args.topology)))
        return
    found = []
    for tried in search(config, args.topology):
        print(row(tried), flush=True)
        found.append(tried)
    if not found:
        print("nothing that was tried compiles; without --search the error is shown")
        return
    best = sorted(found, key=lambda plan: (not plan.fits, plan.seconds))[:3]
    print("\n".join(["", "best", *map(row, best)]))


def quickstart(args: argparse.Namespace) -> None:
    """Train a small model on arithmetic, in a few minutes on a CPU."""
    from jaxrl.quickstart import main

    main(args.overrides)


def bench(args: argparse.Namespace) -> None:
    """Run a benchmark of agents, and report on it."""
    args.run(args)


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    top = argparse.ArgumentParser(
        prog="jaxrl",
        description="Reinforcement learning and distillation of language models.",
        epilog="`jaxrl COMMAND --help` explains a command. Start with quickstart.",
    )
    top.add_argument("--version", action="version", version=f"jaxrl {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    def command(action, *, config: bool, epilog: str = "") -> argparse.ArgumentParser:
        added = commands.add_parser(
            action.__name__,
            help=action.__doc__,
            description=action.__doc__,
            epilog=epilog,
            allow_abbrev=False,
        )
        added.set_defaults(action=action)
        if config:
            added.add_argument(
                "config", type=Path, metavar="CONFIG.py", help="file that sets `config`"
            )
        return added

    added = command(train, config=True, epilog=FIELDS)
    _overrides(added, "--field.sub value ..., or --resume to go on from a checkpoint")

    added = command(evaluate, config=True, epilog=FIELDS)
    _evaluate_arguments(added)

    _sample_arguments(command(sample, config=False))
    add_serve(command(serve, config=False, epilog=SERVING))

    added = command(export, config=False)
    added.add_argument("run", type=Path, metavar="RUN_DIR", help="directory of a run")
    added.add_argument("out", type=Path, metavar="OUT_DIR", help="directory to write")

    added = command(plan, config=True, epilog=FIELDS)
    added.add_argument(
        "--topology",
        required=True,
        metavar="KIND:SHAPE",
        help="v4, v5e, v5p or v6e with the slice's shape (v5e:4x4), or cpu:8",
    )
    added.add_argument(
        "--search",
        action="store_true",
        help="try meshes, micro-batches and what is kept, and print the best",
    )

    command(quickstart, config=False, epilog=QUICKSTART_FIELDS)
    add_benchmarks(command(bench, config=False))
    return top


def _overrides(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument(
        "overrides", nargs=argparse.REMAINDER, metavar="--field.sub value", help=text
    )


def _evaluate_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        metavar="DIR",
        help="directory of a run, or of a Hugging Face checkpoint",
    )
    command.add_argument(
        "--samples",
        type=int,
        default=1,
        metavar="K",
        help="random samples of each problem, for pass@k and maj@k; 1 is greedy only",
    )


def _sample_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT_DIR",
        help="directory of a run, or of a Hugging Face checkpoint",
    )
    command.add_argument("--prompt", required=True, help="text to continue")
    command.add_argument(
        "--chat", action="store_true", help="put the prompt into the chat template"
    )
    for flag, kind, default, text in (
        ("--temperature", float, 1.0, "0 is greedy"),
        ("--top-p", float, 1.0, "keep the smallest set of tokens with this mass"),
        ("--top-k", int, 0, "keep the k most likely tokens; 0 keeps all"),
        ("--max-tokens", int, 256, "longest answer, tokens"),
        ("--seed", int, 0, "of the random choices"),
    ):
        command.add_argument(
            flag, type=kind, default=default, help=f"{text} (default: {default})"
        )


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Parse; what these two commands do not know themselves are overrides."""
    commands = parser()
    args, rest = commands.parse_known_args(words)
    if args.action in (evaluate, plan, quickstart):
        args.overrides = rest
    elif rest:
        commands.error(f"unrecognized arguments: {' '.join(rest)}")
    return args


def main(words: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    Args:
      words: Arguments after the program's name; None takes those of the process.
    """
    args = _parse(words)
    save_memory()
    try:
        args.action(args)
    except (KeyboardInterrupt, Preempted, ValueError) as error:
        if not _is_expected(error):
            raise
        return _status(error)
    return OK


def _is_expected(error: BaseException) -> bool:
    """Whether a line says all about it; a ValueError of ours is a user's mistake."""
    ours = type(error).__module__.split(".")[0] in ("jaxrl", "models")
    return isinstance(error, KeyboardInterrupt | Preempted) or (
        isinstance(error, ValueError) and ours
    )


def _status(error: BaseException) -> int:
    """Say what ended a command; returns the exit status."""
    if not _is_expected(error):
        traceback.print_exception(error)
        return CRASH
    if isinstance(error, KeyboardInterrupt):
        text = "interrupted; train goes on from a checkpoint with --resume, bench when "
        text, status = text + "it is run again", INTERRUPTED
    elif isinstance(error, Preempted):
        text, status = str(error), TRY_AGAIN
    else:
        text, status = f"error: {error}", MISTAKE
    print(f"jaxrl: {text}", file=sys.stderr)
    return status
