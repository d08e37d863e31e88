"""`jaxrl serve`: its arguments, and what they start.

Apart from `jaxrl.serve`, which needs an extra and imports JAX.
"""

import argparse
from pathlib import Path

from jaxrl.errors import UserError

SERVING = """
/v1/chat/completions, /v1/completions and /v1/models answer as OpenAI's do: streams,
log-probabilities of sampled tokens, tools, n, stop, seed; token ids and prompt_logprobs
as vLLM's do. GET /health says how many answers are waited for. What doesn't fit into
the queue gets 429 with Retry-After, a client that leaves frees its place, and SIGTERM
lets what was begun finish. With --record, /episodes/NAME/v1 is a base URL whose
exchanges are recorded token-exactly: GET /episodes/NAME shows them,
POST /episodes/NAME/reward ({"reward": 1.0}) closes them into DIR/NAME.json, and DELETE
drops them; those that are open at the end are open again in the next server.
"""


def add_serve(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT_DIR",
        help="directory of a run, or of a Hugging Face checkpoint",
    )
    command.add_argument(
        "--host", default="127.0.0.1", help="interface (default: 127.0.0.1)"
    )
    command.add_argument(
        "--port", type=int, default=8000, help="0 takes a free one (default: 8000)"
    )
    command.add_argument("--model", metavar="NAME", help="by default the directory's")
    for flag, default, text in (
        ("--context", None, "prompt and answer, tokens; up to the model's (4096)"),
        ("--max-tokens", None, "longest answer (half of the context, up to 1024)"),
        ("--concurrency", 16, "answers drawn at once (default: 16)"),
        ("--queue", 64, "further answers that may wait (default: 64)"),
    ):
        command.add_argument(flag, type=int, default=default, help=text)
    command.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of products and parameters (default: float32)",
    )
    command.add_argument(
        "--tool-calls",
        choices=("hermes", "llama"),
        default="hermes",
        help="how the model writes calls of tools (default: hermes, as Qwen)",
    )
    command.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="record episodes, and keep them there",
    )
    command.add_argument(
        "--loads",
        type=Path,
        metavar="DIR",
        help="let clients load weights from directories below, as from vLLM in its "
        "development mode, so that a run can sample here",
    )
    command.add_argument(
        "--api-key-env",
        metavar="VARIABLE",
        help="that holds a key which clients must show",
    )


def run_serve(args: argparse.Namespace) -> None:
    """Serve what the arguments say."""
    from jaxrl.validate import validate_checkpoint

    validate_checkpoint(args.checkpoint)
    if args.loads is not None and not args.loads.is_dir():
        raise UserError(f"loads is {args.loads}, which is not a directory")

    from jaxrl.rollout.tool_calls import hermes, llama
    from jaxrl.serve.main import Options, serve

    options = Options(
        host=args.host,
        port=args.port,
        model=args.model,
        context=args.context,
        max_tokens=args.max_tokens,
        concurrency=args.concurrency,
        queue=args.queue,
        dtype=args.dtype,
        parse={"hermes": hermes, "llama": llama}[args.tool_calls],
        record=args.record,
        loads=args.loads,
        api_key_env=args.api_key_env,
    )
    serve(args.checkpoint, options)
