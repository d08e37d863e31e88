"""Completions of which a test says what is drawn, and in which pieces."""

import asyncio

import httpx2
import numpy as np
import openai
import pytest

from jaxrl.data.templates import language
from jaxrl.rollout.tool_calls import hermes
from jaxrl.serve.app import routes
from jaxrl.serve.http import application, guarded
from jaxrl.serve.jobs import Jobs, Progress
from jaxrl.serve.prompt_scores import PromptScorer
from jaxrl.serve.requests import Limits
from jaxrl.serve.service import Service
from tests import tiny, tiny_environments

PIECES = ([4, 2], [7], [5, 2, 4])
LOGP = -0.5


async def draw(jobs):
    """Two answers to one prompt, in turns, the second in opposite order."""
    while not (asked := jobs.take(True)[0]):
        await asyncio.sleep(0.001)
    for number in range(len(PIECES)):
        for place, pieces in enumerate((PIECES, PIECES[::-1])):
            tokens = pieces[number]
            done = number + 1 == len(PIECES)
            logp = [LOGP] * len(tokens)
            asked[0].tell(Progress(place, tokens, logp, done, done, 0))


def choices_of(**options):
    """Choices, or pieces of them."""
    spoken = language(
        tiny.tokenizer(), template=tiny_environments.template, parse=hermes
    )
    service = Service(
        limits=Limits("digits", context=48, new_tokens=24, rows=4, vocab=16),
        language=spoken,
        encode=lambda text, special: spoken.encode(text),
        decode=spoken.decode,
        jobs=Jobs(4),
        scorer=PromptScorer(tiny.MODEL, tiny.params, (48,)),
        recordings=None,
    )
    transport = httpx2.ASGITransport(application(routes(service, guarded(None))))

    async def ask():
        async with openai.AsyncOpenAI(
            base_url="http://test/v1",
            api_key="none",
            http_client=httpx2.AsyncClient(transport=transport),
        ) as client:
            drawing = asyncio.ensure_future(draw(service.jobs))
            found = await client.completions.create(
                model="digits", prompt=[4, 5], n=2, **options
            )
            await drawing
            if options.get("stream"):
                return [piece.choices[0] async for piece in found]
            return found.choices

    return asyncio.run(ask())


@pytest.mark.parametrize("by_id", [False, True])
def test_logprobs_of_pieces_join_to_those_of_the_whole(by_id):
    told = {"logprobs": 1, "extra_body": {"return_tokens_as_token_ids": by_id}}
    pieces = choices_of(**told, stream=True)
    assert len(pieces) == 2 * len(PIECES)
    for choice in choices_of(**told):
        whole = vars(choice.logprobs)
        parts = [vars(p.logprobs) for p in pieces if p.index == choice.index]
        for name in ("tokens", "token_logprobs", "text_offset"):
            assert [one for part in parts for one in part[name]] == whole[name]
        sizes = [len(token) for token in whole["tokens"]]
        assert whole["text_offset"] == np.cumsum([0, *sizes])[:-1].tolist()
        assert all(t.startswith("token_id:") == by_id for t in whole["tokens"])
