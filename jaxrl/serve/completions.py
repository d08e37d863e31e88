"""Completions of texts or token ids, and what the model says of the prompts."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse

from jaxrl.rollout.answers import finish_reason, make_head, usage
from jaxrl.rollout.types import Completion
from jaxrl.serve.answers import TextStream, text_logprobs, until_stop
from jaxrl.serve.http import Respond, events, read_body, unless_gone
from jaxrl.serve.jobs import Job
from jaxrl.serve.prompt_scores import PromptScores
from jaxrl.serve.requests import Completions, read_completions, read_json
from jaxrl.serve.service import Answer, Service, whole


async def complete(service: Service, request: Request, respond: Respond) -> None:
    """Answer a request for completions.

    Args:
      service: What is served.
      request: From the client.
      respond: Sends the answer.
    """
    body = read_json(await read_body(request))
    asked = read_completions(body, service.limits, service.scorer.likeliest)
    prompts = await asyncio.to_thread(
        lambda: [_tokens(service, asked, prompt) for prompt in asked.prompts]
    )
    jobs: list[Job] = []
    try:
        for place, prompt in enumerate(prompts):
            first = place * asked.options.count
            jobs.append(service.begin(prompt, asked.options, first, "prompt"))
        if asked.options.stream:
            await respond(events(_pieces(service, asked, prompts[0], jobs[0])))
        else:
            answered = _answer(service, asked, prompts, jobs)
            await respond(JSONResponse(await unless_gone(request, answered)))
    finally:
        for job in jobs:
            job.cancelled = True


def _tokens(service: Service, asked: Completions, prompt: str | list[int]) -> Any:
    if isinstance(prompt, str):
        prompt = [*service.encode(prompt, asked.special_tokens)]
    return np.asarray(prompt, np.int32)


async def _answer(
    service: Service,
    asked: Completions,
    prompts: Sequence[np.ndarray],
    jobs: Sequence[Job],
) -> dict[str, Any]:
    scores: list[PromptScores | None] = [None] * len(prompts)
    if (asked.echo and asked.options.logprobs) or asked.prompt_logprobs is not None:
        scores = [
            await service.jobs.run(lambda prompt=prompt: service.scorer(prompt))
            for prompt in prompts
        ]
    drawn = await asyncio.gather(*map(whole, jobs))
    choices = [
        _choice(service, asked, prompt, completion, known)
        for prompt, group, known in zip(prompts, drawn, scores, strict=True)
        for completion in group
    ]
    numbered = [{"index": i, **choice} for i, choice in enumerate(choices)]
    said = sum(len(one.tokens) for group in drawn for one in group)
    head = make_head("text_completion", service.limits.model)
    return head.holding(numbered, usage=usage(sum(map(len, prompts)), said))


def _choice(
    service: Service,
    asked: Completions,
    prompt: np.ndarray,
    completion: Completion,
    known: PromptScores | None,
) -> dict[str, Any]:
    options, tokens = asked.options, completion.tokens.tolist()
    text = until_stop(service.decode(tokens), options.stop_strings)
    found: dict[str, Any] = {
        "text": service.decode(prompt.tolist()) + text if asked.echo else text,
        "finish_reason": finish_reason(completion.finished),
        "logprobs": None,
    }
    if options.logprobs and asked.echo and known is not None:
        found["logprobs"] = _echoed(service, asked, prompt, completion, known)
    elif options.logprobs:
        name = _namer(service, asked)
        found["logprobs"] = text_logprobs(tokens, completion.logp.tolist(), name)
    if known is not None and asked.prompt_logprobs is not None:
        found["prompt_logprobs"] = _by_position(
            service, prompt, known, asked.prompt_logprobs
        )
    if options.token_ids:
        found["token_ids"] = tokens
        found["prompt_token_ids"] = prompt.tolist()
    return found


def _namer(service: Service, asked: Completions) -> Callable[[int], str]:
    """How tokens are named where their log-probabilities are told."""
    if asked.ids_as_names:
        return "token_id:{}".format
    return lambda token: service.language.decode([token])


def _echoed(
    service: Service,
    asked: Completions,
    prompt: np.ndarray,
    completion: Completion,
    known: PromptScores,
) -> dict[str, Any]:
    """Log-probabilities of prompt and answer, in the older form."""
    name = _namer(service, asked)
    tops: list[dict[str, float] | None] = [None]
    for token, value, ids, values in zip(prompt[1:].tolist(), *known, strict=True):
        best = zip(ids.tolist(), values.tolist(), strict=True)
        first = itertools.islice(best, asked.top_logprobs)
        tops.append({name(token): float(value)} | {name(i): v for i, v in first})
    said, logp = completion.tokens.tolist(), completion.logp.tolist()
    tops += [{name(token): value} for token, value in zip(said, logp, strict=True)]
    told = [None, *known.logp.tolist(), *logp]
    return text_logprobs([*prompt.tolist(), *said], told, name, tops)


def _by_position(
    service: Service, prompt: np.ndarray, known: PromptScores, k: int
) -> list[Any]:
    """Log-probabilities of a prompt by token id, in vLLM's form."""
    positions: list[Any] = [None]
    for token, value, ids, values in zip(prompt[1:].tolist(), *known, strict=True):
        best = [*zip(ids.tolist(), values.tolist(), strict=True)][:k]
        named = {token: float(value)} | dict(best)
        ranks = {i: rank for rank, i in enumerate(ids.tolist(), 1)}
        positions.append(
            {
                str(i): {
                    "logprob": logp,
                    "rank": ranks.get(i),
                    "decoded_token": service.language.decode([i]),
                }
                for i, logp in named.items()
            }
        )
    return positions


async def _pieces(
    service: Service, asked: Completions, prompt: np.ndarray, job: Job
) -> AsyncIterator[dict[str, Any]]:
    options = asked.options
    head = make_head("text_completion", service.limits.model)
    answers = [Answer() for _ in job.names]
    texts = [TextStream(service.decode, options.stop_strings) for _ in job.names]
    starts, name = [0] * len(job.names), _namer(service, asked)
    async for news in job.progress():
        answers[news.place].add(news)
        choice: dict[str, Any] = {
            "index": news.place,
            "text": texts[news.place].add(news.tokens, news.done),
            "finish_reason": finish_reason(news.finished) if news.done else None,
            "logprobs": None,
        }
        if options.logprobs:
            start = starts[news.place]
            told = text_logprobs(news.tokens, news.logp, name, start=start)
            choice["logprobs"] = told
            starts[news.place] += sum(map(len, told["tokens"]))
        if options.token_ids:
            choice["token_ids"] = news.tokens
        yield head.holding([choice])
    if options.usage:
        said = sum(len(answer.completion.tokens) for answer in answers)
        yield head.holding([], usage=usage(len(prompt), said))
