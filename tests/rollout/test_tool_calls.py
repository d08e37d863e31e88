"""Calls in what models write, and in what they should not have written."""

import pytest

from jaxrl.rollout.chat import ToolCall
from jaxrl.rollout.tool_calls import ONE_CALL, hermes, llama, no_calls

F, G = ToolCall("f", {"x": [1, "}"]}), ToolCall("g", {})
UNREADABLE = ToolCall("", None)
SEVERAL = ToolCall("", None, fault=ONE_CALL)
WRITTEN_F = '{"name": "f", "arguments": {"x": [1, "}"]}}'
DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("text", "left", "calls"),
    [
        ("Just text.", "Just text.", ()),
        (f"Hm. <tool_call>\n{WRITTEN_F}\n</tool_call>", "Hm.", (F,)),
        (
            f'<tool_call>{WRITTEN_F}</tool_call> and <tool_call>{{"name": "g", '
            '"arguments": {}}</tool_call>',
            "and",
            (F, G),
        ),
        (f"Cut: <tool_call>{WRITTEN_F}", "Cut:", (F,)),
        (f"<tool_call>{WRITTEN_F[:-3]}", "", (UNREADABLE,)),
        ("<tool_call>f(1)</tool_call>", "", (UNREADABLE,)),
        (f"<tool_call>{DEEP}</tool_call>", "", (UNREADABLE,)),
        ('<tool_call>{"name": 3}</tool_call>', "", (UNREADABLE,)),
        (
            '<tool_call>{"name": "f", "arguments": "x"}</tool_call>',
            "",
            (ToolCall("f", None),),
        ),
    ],
)
def test_hermes(text, left, calls):
    assert hermes(text) == (left, calls)


@pytest.mark.parametrize(
    ("text", "left", "calls"),
    [
        ("Just text.", "Just text.", ()),
        ('{"answer": 3}', '{"answer": 3}', ()),
        ("3", "3", ()),
        (WRITTEN_F.replace("arguments", "parameters"), "", (F,)),
        (f'{WRITTEN_F}; {{"name": "g", "parameters": {{}}}}', "", (SEVERAL,)),
        (f"<|python_tag|>{WRITTEN_F}; {WRITTEN_F}", "", (SEVERAL,)),
        (f"Hm. <|python_tag|>{WRITTEN_F}", "Hm.", (F,)),
        ("<|python_tag|>f(1)", "", (UNREADABLE,)),
        (f"{WRITTEN_F} is what I call", f"{WRITTEN_F} is what I call", ()),
        (DEEP, DEEP, ()),
        ('{"name": "f", "parameters": 3}', "", (ToolCall("f", None),)),
    ],
)
def test_llama(text, left, calls):
    assert llama(text) == (left, calls)


def test_environments_may_read_calls_themselves():
    assert no_calls(f"<tool_call>{WRITTEN_F}</tool_call>").calls == ()
