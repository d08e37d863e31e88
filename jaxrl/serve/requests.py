"""Requests as a client writes them, checked and typed."""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from jaxrl.rollout.chat import Tool
from jaxrl.rollout.types import Message
from jaxrl.serve.errors import RequestError, wrong
from jaxrl.serve.messages import read_messages, read_tools
from jaxrl.truncation import Distribution

LARGEST_SEED = 2**63 - 1
LARGEST_TEMPERATURE = 100.0
STOPS = 16
"""Most stop strings of a request."""
NEUTRAL: Mapping[str, Sequence[Any]] = {
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "min_p": (0,),
    "logit_bias": ({},),
    "best_of": (1,),
    "suffix": ("",),
    "response_format": ({"type": "text"},),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
}
"""What would change answers in ways that are not served, and what changes nothing."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What requests may ask for.

    Attributes:
      model: Name under which the checkpoint is served.
      context: Longest prompt and answer together, tokens.
      new_tokens: Longest answer.
      rows: Most answers of one request.
      vocab: Token ids are below it.
    """

    model: str
    context: int
    new_tokens: int
    rows: int
    vocab: int


@dataclasses.dataclass(frozen=True)
class Options:
    """What requests of both kinds say.

    Attributes:
      count: Answers to each prompt.
      limit: Longest answer, tokens; None takes the default, or what there is room for.
      default_limit: Longest answer of a request that gives no limit.
      drawn_from: Temperature, top-k and top-p.
      seed: Names the noise; None takes any.
      stop_strings: Texts that end an answer and are not shown.
      stop_tokens: Tokens that end it, beside those of the checkpoint.
      logprobs: Whether log-probabilities of its tokens are wanted.
      token_ids: Whether ids are, of prompts too.
      stream: Whether it is sent piece by piece.
      usage: Whether a stream ends with counts of tokens.
    """

    count: int
    limit: int | None
    default_limit: int
    drawn_from: Distribution
    seed: int | None
    stop_strings: tuple[str, ...]
    stop_tokens: frozenset[int]
    logprobs: bool
    token_ids: bool
    stream: bool
    usage: bool


@dataclasses.dataclass(frozen=True)
class Chat:
    """A request for the next message of a conversation."""

    options: Options
    messages: Sequence[Message]
    tools: Sequence[Tool]


@dataclasses.dataclass(frozen=True)
class Completions:
    """A request for what follows prompts.

    Attributes:
      options: See `Options`.
      prompts: Texts, or token ids.
      echo: Whether the prompts are part of the answers.
      top_logprobs: Likeliest tokens that are wanted of each echoed position.
      prompt_logprobs: The same of each prompt position, in vLLM's form; None for none.
      special_tokens: Whether the tokenizer puts its own around texts.
      ids_as_names: Whether log-probabilities name tokens by their ids.
    """

    options: Options
    prompts: Sequence[str | list[int]]
    echo: bool
    top_logprobs: int
    prompt_logprobs: int | None
    special_tokens: bool
    ids_as_names: bool


def read_json(content: bytes) -> dict[str, Any]:
    """The object that a request's body holds."""
    try:
        body = json.loads(content)
        # Half of a surrogate pair is JSON, and no text that could be encoded.
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise RequestError(
            HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}"
        ) from None
    if not isinstance(body, dict):
        raise RequestError(HTTPStatus.BAD_REQUEST, "the body is not a JSON object")
    return body


def read_chat(body: Mapping[str, Any], limits: Limits) -> Chat:
    """Check a request for chat completions."""
    if _whole(body, "top_logprobs", 0, 0, 20):
        raise wrong("top_logprobs", "must be 0: only sampled tokens' are known here")
    logprobs = _flag(body, "logprobs")
    limit = "max_completion_tokens"
    limit = "max_tokens" if body.get(limit) is None else limit
    options = _options(body, limits, limit, limits.new_tokens, logprobs)
    return Chat(options, read_messages(body), read_tools(body))


def read_completions(body: Mapping[str, Any], limits: Limits, top: int) -> Completions:
    """Check a request for completions.

    Args:
      body: Of the request.
      limits: Of the server.
      top: Most likeliest tokens of a prompt's position that it tells.
    """
    echo = _flag(body, "echo")
    wanted = _whole(body, "logprobs", -1, 0, top)
    if wanted > 1 and not echo:
        raise wrong("logprobs", "may be more than 1 only with echo, for the prompt")
    prompt_logprobs = _whole(body, "prompt_logprobs", -1, 0, top)
    default = min(16, limits.new_tokens)
    options = _options(body, limits, "max_tokens", default, wanted >= 0)
    if options.stream and (echo or prompt_logprobs >= 0):
        raise wrong("stream", "goes with neither echo nor prompt_logprobs")
    prompts = _prompts(body, limits)
    if options.stream and len(prompts) > 1:
        raise wrong("prompt", "must be one where the answer is a stream")
    if len(prompts) * options.count > limits.rows:
        raise wrong("prompt", f"times n is more than {limits.rows} answers")
    return Completions(
        options,
        prompts,
        echo,
        max(wanted, 0),
        None if prompt_logprobs < 0 else prompt_logprobs,
        _flag(body, "add_special_tokens", True),
        _flag(body, "return_tokens_as_token_ids"),
    )


def is_finite(value: Any) -> bool:
    """Whether JSON has a number that a float can hold, which not every integer is."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def read_usage(body: Mapping[str, Any]) -> bool:
    """Whether a stream is to end with counts of tokens, in a piece without choices."""
    settings = body.get("stream_options")
    return isinstance(settings, dict) and bool(settings.get("include_usage"))


def read_model(body: Mapping[str, Any], name: str) -> None:
    """Raise unless a request names the model that is served."""
    if body.get("model") != name:
        raise RequestError(
            HTTPStatus.NOT_FOUND,
            f"the model {body.get('model')!r} does not exist; this is {name!r}",
            "model",
            "model_not_found",
        )


def _options(
    body: Mapping[str, Any], limits: Limits, limit: str, default: int, logprobs: bool
) -> Options:
    read_model(body, limits.model)
    for name, values in NEUTRAL.items():
        if body.get(name) is not None and body[name] not in values:
            raise wrong(name, f"is not served; leave it out, or give {values[0]!r}")
    top_k = _whole(body, "top_k", 0, -1, limits.vocab)
    top_p = _number(body, "top_p", 1.0, 0.0, 1.0)
    if not top_p:
        raise wrong("top_p", "must be more than 0")
    seed = _whole(body, "seed", -1, -LARGEST_SEED, LARGEST_SEED)
    return Options(
        count=_whole(body, "n", 1, 1, limits.rows),
        limit=_whole(body, limit, 0, 1, limits.new_tokens) or None,
        default_limit=default,
        drawn_from=Distribution(
            _number(body, "temperature", 1.0, 0.0, LARGEST_TEMPERATURE),
            max(top_k, 0),
            top_p,
        ),
        seed=None if body.get("seed") is None else seed,
        stop_strings=_stops(body),
        stop_tokens=frozenset(_ids(body, "stop_token_ids", limits.vocab)),
        logprobs=logprobs,
        token_ids=_flag(body, "return_token_ids"),
        stream=_flag(body, "stream"),
        usage=read_usage(body),
    )


def _number(
    body: Mapping[str, Any], name: str, default: float, least: float, most: float
) -> float:
    value = body.get(name)
    if value is None:
        return default
    if not is_finite(value):
        raise wrong(name, f"must be a number, not {value!r}")
    if not least <= value <= most:
        raise wrong(name, f"is {value}, not from {least:g} to {most:g}")
    return float(value)


def _whole(
    body: Mapping[str, Any], name: str, default: int, least: int, most: int
) -> int:
    value = body.get(name)
    if value is None:
        return default
    if type(value) is not int:
        raise wrong(name, f"must be an integer, not {value!r}")
    if not least <= value <= most:
        raise wrong(name, f"is {value}, not from {least} to {most}")
    return value


def _flag(body: Mapping[str, Any], name: str, default: bool = False) -> bool:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise wrong(name, f"must be true or false, not {value!r}")
    return value


def _stops(body: Mapping[str, Any]) -> tuple[str, ...]:
    match body.get("stop"):
        case None:
            return ()
        case str(stop) if stop:
            return (stop,)
        case list(stops) if len(stops) <= STOPS and all(
            isinstance(stop, str) and stop for stop in stops
        ):
            return tuple(stops)
    raise wrong("stop", f"must be a text, or up to {STOPS} of them, none empty")


def _ids(body: Mapping[str, Any], name: str, vocab: int) -> list[int]:
    match body.get(name):
        case None:
            return []
        case list(ids) if all(_is_id(one, vocab) for one in ids):
            return ids
    raise wrong(name, f"must be a list of token ids from 0 to {vocab - 1}")


def _prompts(body: Mapping[str, Any], limits: Limits) -> list[str | list[int]]:
    match body.get("prompt"):
        case str(text):
            return [text]
        case [int(), *_]:
            return [_ids(body, "prompt", limits.vocab)]
        case [_, *_] as found if all(isinstance(one, str | list) for one in found):
            return [
                one
                if isinstance(one, str)
                else _ids({"prompt": one}, "prompt", limits.vocab)
                for one in found
            ]
    raise wrong("prompt", "must be a text, a list of token ids, or a list of these")


def _is_id(value: Any, vocab: int) -> bool:
    return type(value) is int and 0 <= value < vocab
