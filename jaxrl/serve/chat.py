"""Chat completions: whole or as a stream, recorded or not."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse

from jaxrl.rollout.answers import (
    Head,
    finish_reason,
    make_head,
    reply_message,
    usage,
    with_ids,
)
from jaxrl.rollout.chat import Reply
from jaxrl.rollout.dialogue import Exchange, Language, prompt_after
from jaxrl.rollout.tool_calls import no_calls
from jaxrl.rollout.types import Completion
from jaxrl.serve.answers import (
    TextStream,
    chat_logprobs,
    message_delta,
    until_stop,
)
from jaxrl.serve.errors import wrong
from jaxrl.serve.http import Respond, events, read_body, unless_gone
from jaxrl.serve.jobs import Job
from jaxrl.serve.recording import Recording
from jaxrl.serve.requests import Chat, read_chat, read_json
from jaxrl.serve.service import Answer, Service, completion_of, whole


async def chat(
    service: Service,
    request: Request,
    respond: Respond,
    open_recording: Callable[[], Recording] | None,
) -> None:
    """Answer a request for chat completions.

    Args:
      service: What is served.
      request: From the client.
      respond: Sends the answer.
      open_recording: Opens the episode that the turn belongs to; None where it
        belongs to none.
    """
    asked = read_chat(read_json(await read_body(request)), service.limits)
    if open_recording is not None and asked.options.count > 1:
        raise wrong("n", "must be 1 in an episode")
    recording = None if open_recording is None else open_recording()
    async with contextlib.nullcontext() if recording is None else recording.turn():
        spoken, last = service.language, recording and recording.last
        if not asked.tools:
            spoken = dataclasses.replace(spoken, parse=no_calls)
        # In a thread, so that a long conversation keeps nobody else waiting.
        prompt = await asyncio.to_thread(_prompt, spoken, asked, last)
        turn = _Turn(service, asked, recording, spoken, prompt)
        try:
            if asked.options.stream:
                await respond(events(turn.pieces()))
            else:
                await respond(JSONResponse(await unless_gone(request, turn.answer())))
        finally:
            turn.job.cancelled = True


class _Turn:
    """One request on its way."""

    def __init__(
        self,
        service: Service,
        asked: Chat,
        recording: Recording | None,
        spoken: Language,
        prompt: np.ndarray,
    ):
        self._service, self._asked, self._recording = service, asked, recording
        self._language, self._prompt = spoken, prompt
        self.job: Job = service.begin(prompt, asked.options, 0, "messages")

    async def answer(self) -> dict[str, Any]:
        """All of it."""
        completions = await whole(self.job)
        head = make_head("chat.completion", self._service.limits.model)
        choices = [self._choice(i, one) for i, one in enumerate(completions)]
        said = sum(len(one.tokens) for one in completions)
        more = {"prompt_token_ids": self._prompt.tolist()}
        more = more if self._asked.options.token_ids else {}
        return head.holding(choices, usage=usage(len(self._prompt), said), **more)

    async def pieces(self) -> AsyncIterator[dict[str, Any]]:
        """Piece by piece; with tools, a message is one piece, since it may be calls."""
        options, decode = self._asked.options, self._service.decode
        head = make_head("chat.completion.chunk", self._service.limits.model)
        answers = [Answer() for _ in self.job.names]
        texts = [TextStream(decode, options.stop_strings) for _ in answers]
        for index in range(len(answers)):
            yield _piece(head, index, {"role": "assistant", "content": ""})
        async for news in self.job.progress():
            answers[news.place].add(news)
            new = completion_of(
                news.tokens, news.logp, news.version, finished=news.finished
            )
            more = self._details(new)
            if not self._asked.tools:
                text = texts[news.place].add(news.tokens, news.done)
                yield _piece(head, news.place, {"content": text}, **more)
            if news.done:
                reply = self._said(answers[news.place].completion)
                if self._asked.tools:
                    delta = message_delta(reply_message(reply))
                    yield _piece(head, news.place, delta, **more)
                reason = finish_reason(news.finished, reply.tool_calls)
                yield _piece(head, news.place, {}, finish_reason=reason)
        if options.usage:
            said = sum(len(answer.completion.tokens) for answer in answers)
            yield head.holding([], usage=usage(len(self._prompt), said))

    def _choice(self, index: int, completion: Completion) -> dict[str, Any]:
        reply = self._said(completion)
        return {
            "index": index,
            "message": reply_message(reply),
            "finish_reason": finish_reason(completion.finished, reply.tool_calls),
            "logprobs": None,
            **self._details(completion),
        }

    def _details(self, completion: Completion) -> dict[str, Any]:
        """What of tokens the client asked for."""
        options, found = self._asked.options, {}
        if options.logprobs:
            spoken = self._language.decode
            found["logprobs"] = chat_logprobs(completion, spoken)
        if options.token_ids:
            found["token_ids"] = completion.tokens.tolist()
        return found

    def _said(self, completion: Completion) -> Reply:
        """The reply as the client sees it, which becomes part of the record."""
        reply = with_ids(self._language.reply(self._prompt, completion))
        text = until_stop(reply.text, self._asked.options.stop_strings)
        reply = dataclasses.replace(reply, text=text)
        if self._recording is not None:
            messages, tools = self._asked.messages, self._asked.tools
            self._recording.add(
                Exchange(messages, tools, self._prompt, completion, reply),
                self._asked.options.drawn_from,
            )
        return reply


def _prompt(language: Language, asked: Chat, last: Exchange | None) -> np.ndarray:
    try:
        return prompt_after(language, last, asked.messages, asked.tools)
    except Exception as error:  # Whatever a checkpoint's template raises.
        raise wrong(
            "messages", f"can't be written by the chat template: {error}"
        ) from None


def _piece(head: Head, index: int, delta: dict[str, Any], **more: Any) -> Any:
    choice = {"index": index, "delta": delta, "finish_reason": None, **more}
    return head.holding([choice])
