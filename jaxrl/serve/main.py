"""A server from a checkpoint: loads, compiles, serves until it is told to end."""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from starlette.types import ASGIApp
from transformers import PreTrainedTokenizerBase

from jaxrl.data.templates import language
from jaxrl.data.tokenise import decoder
from jaxrl.errors import UserError
from jaxrl.inference import exported
from jaxrl.policy import stop_tokens
from jaxrl.preemption import preemption
from jaxrl.rollout.dialogue import Language, Template
from jaxrl.rollout.sampler import Sampler
from jaxrl.rollout.shapes import sampler_shape
from jaxrl.rollout.tool_calls import Parser, hermes
from jaxrl.rollout.types import Sampling
from jaxrl.serve.app import routes
from jaxrl.serve.device import work
from jaxrl.serve.http import application, guarded, serving
from jaxrl.serve.jobs import Jobs
from jaxrl.serve.loading import Weights, weight_routes
from jaxrl.serve.prompt_scores import PromptScorer
from jaxrl.serve.recording import Recordings
from jaxrl.serve.requests import Limits
from jaxrl.serve.service import Service
from jaxrl.types import Params
from models.api import LanguageModel
from models.config import DecoderConfig, DType
from models.huggingface import load, load_tokenizer

LONGEST_CONTEXT, LONGEST_ANSWER = 4096, 1024
"""Tokens, where the options don't say."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How a checkpoint is served.

    Attributes:
      host: Interface to listen on.
      port: 0 takes a free one.
      model: Name under which it is listed; None takes that of the directory.
      context: Longest prompt and answer together; None takes what the model knows, up
        to 4096.
      max_tokens: Longest answer; None takes half of the context, up to 1024.
      concurrency: Answers drawn at once.
      queue: Further answers that may wait.
      dtype: Of products, and of the parameters that are kept.
      parse: How calls of tools are read.
      template: Writes conversations; None takes the tokenizer's chat template.
      record: Directory of recorded episodes; None records none.
      loads: Directory from whose subdirectories clients may load weights; None allows
        none.
      api_key_env: Environment variable with a key that clients must show.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    model: str | None = None
    context: int | None = None
    max_tokens: int | None = None
    concurrency: int = 16
    queue: int = 64
    dtype: DType = "float32"
    parse: Parser = hermes
    template: Template | None = None
    record: Path | None = None
    loads: Path | None = None
    api_key_env: str | None = None


@dataclasses.dataclass(frozen=True)
class Server:
    """A checkpoint that is ready to be served.

    Attributes:
      name: Of the model.
      app: Answers requests, in a thread.
      work: Draws what is asked until a function says that the server is to end.
      keep: Called when HTTP has ended; writes what has not been written yet.
    """

    name: str
    app: ASGIApp
    work: Callable[[Callable[[], bool]], None]
    keep: Callable[[], None]


def serve(checkpoint: Path, options: Options) -> None:
    """Serve until SIGTERM; what was begun is finished, and open episodes are kept.

    Args:
      checkpoint: A Hugging Face directory, or that of a finished run.
      options: See `Options`.

    Raises:
      UserError: If the options don't fit the checkpoint, or the port is taken.
    """
    server = prepare(checkpoint, options)
    with (
        preemption() as ended,
        contextlib.ExitStack() as at_the_end,
        serving(server.app, options.host, options.port) as address,
    ):
        at_the_end.callback(server.keep)
        print(f"serving {server.name} on {address}/v1", flush=True)
        server.work(ended)


def prepare(checkpoint: Path, options: Options) -> Server:
    """Load and compile; arguments as of `serve`."""
    key, path = _key(options.api_key_env), exported(checkpoint)
    read = partial(load, dtype=options.dtype, param_dtype=options.dtype)
    model, params = read(path)
    context, longest = sizes(options, model.config.max_positions)
    tokenizer = load_tokenizer(path)
    # The first call may change how it truncates, which threads must not see.
    tokenizer.encode("")
    decode = decoder(tokenizer)
    shape = sampler_shape(
        prompts=options.concurrency,
        samples=1,
        max_prompt_tokens=context,
        max_new_tokens=longest,
    )
    sampler = Sampler(model, params, shape, decode=decode)
    sampling = Sampling(longest, stop_tokens=stop_tokens(path, tokenizer))
    name = options.model or checkpoint.resolve().name
    room = options.concurrency + options.queue
    recordings = None if options.record is None else Recordings(options.record)
    scorer = PromptScorer(model, lambda: sampler.params, shape.prompt_lengths)
    jobs = Jobs(room)
    service = Service(
        limits=Limits(name, context, longest, room, model.config.vocab_size),
        language=_language(tokenizer, options),
        encode=lambda text, special: tokenizer.encode(text, add_special_tokens=special),
        decode=decode,
        jobs=jobs,
        scorer=scorer,
        recordings=recordings,
    )
    for compiled in sampler.compile(sampling, opened=True, mixed=True):
        print(f"compiled {compiled}", file=sys.stderr)
    scorer.compile()
    open_session = partial(sampler.open, sampling, (0,), mixed=True)
    app = _app(service, options, key, sampler, read, model.config)
    draw = partial(work, jobs, open_session, lambda: sampler.params)
    return Server(name, app, draw, recordings.keep if recordings else lambda: None)


def sizes(options: Options, max_positions: int) -> tuple[int, int]:
    """Context and longest answer, tokens.

    Args:
      options: May leave either open.
      max_positions: That the model knows.

    Raises:
      UserError: If they don't fit each other, or the model.
    """
    context = options.context
    if context is None:
        context = min(max_positions, LONGEST_CONTEXT)
    if not 2 <= context <= max_positions:
        raise UserError(
            f"context is {context}; the model knows {max_positions} positions, and a "
            "prompt and an answer need 2"
        )
    longest = options.max_tokens
    if longest is None:
        longest = min(LONGEST_ANSWER, context // 2)
    if not 1 <= longest < context:
        raise UserError(
            f"max_tokens is {longest}; give 1 to {context - 1}, less than the context"
        )
    for name, value, least in (
        ("concurrency", options.concurrency, 1),
        ("queue", options.queue, 0),
    ):
        if value < least:
            raise UserError(f"{name} is {value}; give {least} or more")
    return context, longest


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(
            f"api_key_env is {variable}, which holds no key; set the variable"
        )
    return key


def _language(tokenizer: PreTrainedTokenizerBase, options: Options) -> Language:
    """Without a chat template, chats are refused; completions need none."""
    if options.template is not None or tokenizer.chat_template is not None:
        return language(tokenizer, template=options.template, parse=options.parse)
    return language(tokenizer, template=_no_template, parse=options.parse)


def _no_template(messages: object, tools: object, begin_reply: bool) -> str:
    del messages, tools, begin_reply
    raise UserError("the checkpoint has none; use completions")


def _app(
    service: Service,
    options: Options,
    key: str | None,
    sampler: Sampler,
    read: Callable[[Path], tuple[LanguageModel, Params]],
    config: DecoderConfig,
) -> ASGIApp:
    guard = guarded(key)
    found = routes(service, guard)
    if options.loads is not None:

        def load_same(path: Path) -> Params:
            model, params = read(path)
            if model.config != config:
                raise UserError(f"{path} is of another architecture")
            return params

        weights = Weights(service.jobs, sampler, load_same, options.loads)
        found += weight_routes(weights, service.jobs, guard)
    return application(found)
