"""Conversations as tokens: what was sampled is never tokenised again."""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxrl.rollout.chat import Reply, Tool, ToolCall, assistant_message
from jaxrl.rollout.tool_calls import Parser
from jaxrl.rollout.types import Completion, Message

Template = Callable[[Sequence[Message], Sequence[Tool], bool], str]
"""From messages, tools and whether the next reply is to begin, to text."""

_MARK = "[[reply]]"


@dataclasses.dataclass(frozen=True)
class Language:
    """How a model reads conversations and writes replies.

    Attributes:
      template: Writes messages and tools as text.
      encode: Text to token ids, without tokens of its own at the ends.
      decode: Token ids to text, special tokens included.
      special: Texts of special tokens, which replies are shown without.
      parse: Finds calls of tools in a turn's text.
    """

    template: Template
    encode: Callable[[str], Sequence[int]]
    decode: Callable[[Sequence[int]], str]
    special: Sequence[str]
    parse: Parser

    def reply(self, prompt: np.ndarray, completion: Completion) -> Reply:
        """What was sampled, as the environment sees it."""
        tokens = completion.tokens.tolist()
        written = self.decode(tokens)
        end = next((s for s in self.special if written.endswith(s)), "")
        parsed = self.parse(written.removesuffix(end))
        text = parsed.text
        for special in self.special:
            text = text.replace(special, "")
        counts = len(prompt), len(tokens)
        return Reply(text, parsed.calls, *counts, finished=completion.finished)


@dataclasses.dataclass(frozen=True)
class Exchange:
    """One turn: what was asked, in messages and tokens, and what was answered.

    Attributes:
      messages: Of the conversation.
      tools: That were declared.
      prompt: int32 [t].
      completion: What was sampled.
      reply: What was shown of it; None is all, as `Language.reply` reads it.
    """

    messages: Sequence[Message]
    tools: Sequence[Tool]
    prompt: np.ndarray
    completion: Completion
    reply: Reply | None = None


def prompt_after(
    language: Language,
    last: Exchange | None,
    messages: Sequence[Message],
    tools: Sequence[Tool],
) -> np.ndarray:
    """The prompt of a turn, as tokens.

    Where the conversation goes on from the last turn, it is that turn's prompt, what
    was sampled, and the tokens of what the template adds. It begins anew where the
    environment or the template writes something else for what came before.

    Args:
      language: Of the model.
      last: The turn before; None if there is none.
      messages: The whole conversation.
      tools: That are declared.

    Returns:
      int32 [t].
    """
    messages, tools = [_for_template(message) for message in messages], list(tools)
    added = None if last is None else _added(language, last, messages, tools)
    if last is None or added is None:
        whole = language.template(messages, tools, True)
        return np.asarray(language.encode(whole), np.int32)
    parts = [last.prompt, last.completion.tokens, language.encode(added)]
    return np.concatenate([np.asarray(part, np.int32) for part in parts])


def _added(
    language: Language,
    last: Exchange,
    messages: Sequence[Message],
    tools: Sequence[Tool],
) -> str | None:
    """Text between what was sampled and the next reply; None if that is not all."""
    asked, write = [_for_template(m) for m in last.messages], language.template
    count = len(asked)
    goes_on = messages[:count] == asked and tools == list(last.tools)
    if not goes_on or [m["role"] for m in messages[count : count + 1]] != ["assistant"]:
        return None
    before, until = (
        write(asked, tools, True),
        write(messages[: count + 1], tools, False),
    )
    whole = write(messages, tools, True)
    marked = write([*asked, {"role": "assistant", "content": _MARK}], tools, False)
    end = marked.rpartition(_MARK)[2]
    rewritten = not (until.startswith(before) and whole.startswith(before))
    reply = last.reply or language.reply(last.prompt, last.completion)
    said = _for_template(assistant_message(reply))
    rewritten |= write([*asked, said], tools, False) != until
    if rewritten or _MARK not in marked or not until.endswith(end):
        return None
    rest = (
        whole[len(until) :]
        if whole.startswith(until)
        else _behind(language, reply, whole[len(before) :], end)
    )
    if rest is None:
        return None
    if last.completion.finished and len(last.completion.tokens):
        # A stop token that the template writes too was sampled already.
        end = end.removeprefix(language.decode(last.completion.tokens[-1:].tolist()))
    return end + rest


def _behind(language: Language, reply: Reply, written: str, end: str) -> str | None:
    """What follows a reply in a text; None if the text begins with something else.

    Templates may write the last reply in another way than one that is answered, such
    as with an empty block of thoughts; what is read from either is the same.
    """
    for found in re.finditer(re.escape(end), written) if end else ():
        read = language.parse(written[: found.start()])
        if _content(read.text, read.calls) == _content(reply.text, reply.tool_calls):
            return written[found.end() :]
    return None


def _content(text: str, calls: Sequence[ToolCall]) -> tuple[str, list[Any]]:
    """What templates show of a reply."""
    return text.strip(), [(call.name, call.arguments or {}) for call in calls]


def _for_template(message: Message) -> dict[str, Any]:
    """With the arguments of calls as objects, where chat APIs have JSON in a string."""
    found = dict(message)
    if found.get("tool_calls"):
        found["tool_calls"] = [_call(call) for call in found["tool_calls"]]
    return found


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = dict(call["function"])
    if isinstance(function.get("arguments"), str):
        function["arguments"] = json.loads(function["arguments"])
    return {**call, "function": function}
