"""Conversations as tokens, with the chat templates of two families and with none."""

import asyncio

import numpy as np
import pytest

from jaxrl.data.templates import language
from jaxrl.errors import UserError
from jaxrl.rollout.chat import ToolCall, assistant_message, tool_message
from jaxrl.rollout.dialogue import Exchange, Language, prompt_after
from jaxrl.rollout.tool_calls import hermes, llama, no_calls
from jaxrl.rollout.tools import answer
from jaxrl.rollout.types import Completion
from tests.checkpoints import tiny_tokenizer

TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
CALL = ToolCall("add", {"x": 1})
WRITTEN = '<tool_call>{"name": "add", "arguments": {"x": 1}}</tool_call>'
ASKED = [{"role": "user", "content": "1+1?"}]

# As Qwen: results of tools are shown by the user, those of one turn together.
HERMES = """\
{%- if tools %}<|system|>{{ tools | tojson }}<|end|>{% endif %}
{%- for m in messages %}
  {%- if m.role == "tool" %}
    {%- if loop.first or messages[loop.index0 - 1].role != "tool" %}<|user|>{% endif %}
    {{- "<tool_response>" + m.content + "</tool_response>" }}
    {%- if loop.last or messages[loop.index0 + 1].role != "tool" %}<|end|>{% endif %}
  {%- else %}<|{{ m.role }}|>{{ m.content }}
    {%- for c in m.tool_calls %}<tool_call>{"name": "{{ c.function.name }}"
      {{- ', "arguments": ' + c.function.arguments | tojson }}}</tool_call>
    {%- endfor %}<|end|>
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>{% endif %}"""
# As Llama: a call is all of a turn, and the only one.
LLAMA = """\
{%- for m in messages %}<|{{ m.role }}|>
  {%- if m.tool_calls | length > 1 %}{{ raise_exception("one call") }}{% endif %}
  {%- if m.tool_calls %}{"name": "{{ m.tool_calls[0].function.name }}", "parameters": \
{{ m.tool_calls[0].function.arguments | tojson }}}
  {%- else %}{{ m.content }}{% endif %}<|end|>
{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>{% endif %}"""
# As Qwen3: the last message begins with thoughts, if only with none.
THOUGHTFUL = HERMES.replace(
    "{%- else %}<|{{ m.role }}|>",
    """{%- else %}<|{{ m.role }}|>
    {%- if loop.last and m.role == "assistant" and "~" not in m.content %}~{% endif %}
    {{- "" }}""",
)
# Leaves the thoughts of earlier turns out.
FORGETFUL = """\
{%- for m in messages %}<|{{ m.role }}|>
  {%- if loop.last %}{{ m.content }}{% else %}{{ m.content.split("~")[-1] }}{% endif %}
  {{- "<|end|>" }}
{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>{% endif %}"""


def speaking(template, parse):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return language(tokenizer, template=None, parse=parse)


def completion(spoken, text, finished=True):
    tokens = spoken.encode(text + "<|end|>" * finished)
    return Completion(np.array(tokens), np.zeros(len(tokens)), 0, finished)


def said(spoken, text, finished=True, tools=TOOLS):
    """An exchange that ends with a text, and the reply in it."""
    prompt = prompt_after(spoken, None, ASKED, tools)
    drawn = completion(spoken, text, finished)
    return Exchange(ASKED, tools, prompt, drawn), spoken.reply(prompt, drawn)


@pytest.mark.parametrize(
    ("template", "parse", "text"),
    [
        (HERMES, hermes, f"So.{WRITTEN}"),
        (LLAMA, llama, '{"name": "add", "parameters": {"x": 1}}'),
        (THOUGHTFUL, hermes, f"So.{WRITTEN}"),
        (THOUGHTFUL, hermes, f"Hm.~So.{WRITTEN}"),
    ],
    ids=["hermes", "llama", "thoughtless", "thoughtful"],
)
@pytest.mark.parametrize("finished", [True, False])
def test_a_call_and_its_result_are_what_the_template_writes(
    template, parse, text, finished
):
    spoken = speaking(template, parse)
    last, reply = said(spoken, text, finished)
    assert reply.tool_calls == (CALL,)
    assert (reply.prompt_tokens, reply.completion_tokens) == (
        len(last.prompt),
        len(last.completion.tokens),
    )
    messages = [
        *ASKED,
        assistant_message(reply),
        tool_message(reply.tool_calls[0], "2"),
    ]
    found = prompt_after(spoken, last, messages, TOOLS)
    assert spoken.decode(found.tolist()) == spoken.template(messages, TOOLS, True)
    exact = [*last.prompt, *last.completion.tokens]
    assert found[: len(exact)].tolist() == exact


def test_what_was_sampled_stays_where_a_template_writes_it_in_two_other_ways():
    spoken = speaking(THOUGHTFUL, hermes)
    call = '<tool_call> {"arguments":{"x":1},"name":"add"}</tool_call>'
    last, reply = said(spoken, call)
    messages = [*ASKED, assistant_message(reply), tool_message(CALL, "2")]
    found = prompt_after(spoken, last, messages, TOOLS)
    exact = [*last.prompt, *last.completion.tokens]
    assert found[: len(exact)].tolist() == exact
    rest = spoken.decode(found[len(exact) :].tolist())
    told = "<tool_response>2</tool_response>"
    assert rest == f"<|user|>{told}<|end|><|assistant|>"


def test_several_calls_where_a_template_writes_one_are_an_error_to_learn_from():
    spoken = speaking(LLAMA, llama)
    call = '{"name": "add", "parameters": {"x": 1}}'
    last, reply = said(spoken, f"{call}; {call}")
    [unreadable] = reply.tool_calls
    told = asyncio.run(answer((), unreadable))
    assert not told.valid
    assert "one call in a reply" in told.text
    messages = [*ASKED, assistant_message(reply), tool_message(unreadable, told.text)]
    found = prompt_after(spoken, last, messages, TOOLS)
    exact = [*last.prompt, *last.completion.tokens]
    assert found[: len(exact)].tolist() == exact
    rest = spoken.decode(found[len(exact) :].tolist())
    assert rest == f"<|tool|>{told.text}<|end|><|assistant|>"


def test_results_of_one_turn_are_shown_together():
    spoken = speaking(HERMES, hermes)
    last, reply = said(spoken, WRITTEN * 2)
    results = [tool_message(call, "2") for call in reply.tool_calls]
    messages = [*ASKED, assistant_message(reply), *results]
    found = spoken.decode(prompt_after(spoken, last, messages, TOOLS).tolist())
    assert found.endswith(
        "<|end|><|user|><tool_response>2</tool_response><tool_response>2"
        "</tool_response><|end|><|assistant|>"
    )


def test_arguments_may_be_json_in_a_string_as_chat_apis_have_them():
    spoken = speaking(HERMES, hermes)
    message = assistant_message(spoken.reply(np.zeros(1), completion(spoken, "")))
    call = {"type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}}
    messages = [*ASKED, {**message, "tool_calls": [call]}]
    found = spoken.decode(prompt_after(spoken, None, messages, ()).tolist())
    assert '"arguments": {"x": 1}}</tool_call>' in found


def test_what_was_sampled_is_not_tokenised_again():
    """Here "ab" is one token to the tokenizer, and two where the policy wrote it."""
    words = ["a", "b", "ab", "|", "?"]

    def template(messages, tools, begin_reply):
        return " | ".join(m["content"] for m in messages) + " | " * begin_reply

    spoken = Language(
        template,
        lambda text: [words.index(w) for w in text.split()],
        lambda tokens: "".join(words[t] for t in tokens),
        (),
        no_calls,
    )
    asked = [{"role": "user", "content": "?"}]
    prompt = prompt_after(spoken, None, asked, ())
    drawn = Completion(np.array([0, 1]), np.zeros(2), 0, False)
    reply = spoken.reply(prompt, drawn)
    assert reply.text == "ab"
    messages = [*asked, assistant_message(reply), {"role": "user", "content": "?"}]
    last = Exchange(asked, (), prompt, drawn)
    found = prompt_after(spoken, last, messages, ())
    assert found.tolist() == [4, 3, 0, 1, 3, 4, 3]
    assert prompt_after(spoken, None, messages, ()).tolist() == [4, 3, 2, 3, 4, 3]


@pytest.mark.parametrize("change", ["history", "tools", "template"])
def test_a_conversation_that_does_not_go_on_begins_anew(change):
    spoken = speaking(FORGETFUL, no_calls)
    last, reply = said(spoken, "Hm.~2" if change == "template" else "2", tools=[])
    messages = [*ASKED, assistant_message(reply), {"role": "user", "content": "Sure?"}]
    tools = TOOLS if change == "tools" else []
    if change == "history":
        messages[0] = {"role": "user", "content": "1+2?"}
    found = prompt_after(spoken, last, messages, tools)
    assert spoken.decode(found.tolist()) == spoken.template(messages, tools, True)
    if change == "template":
        assert "Hm." not in spoken.decode(found.tolist())


def test_special_tokens_that_a_policy_writes_are_not_shown():
    spoken = speaking(HERMES, hermes)
    drawn = completion(spoken, "a<|user|>b")
    assert spoken.reply(np.zeros(1), drawn).text == "ab"


def test_a_checkpoint_without_a_template_needs_one():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(UserError, match=r"data\.environment\.template is None"):
        language(tokenizer, template=None, parse=hermes)
    plain = language(tokenizer, template=lambda *_: "Hi", parse=hermes)
    assert plain.decode(prompt_after(plain, None, ASKED, ()).tolist()) == "Hi"
