"""Requests as clients write them: what is taken, and what is said of the rest."""

import json

import pytest

from jaxrl.serve.errors import RequestError
from jaxrl.serve.requests import Limits, read_chat, read_completions, read_json
from jaxrl.truncation import Distribution

LIMITS = Limits("digits", context=48, new_tokens=24, rows=6, vocab=16)
TOOL = {"type": "function", "function": {"name": "add", "parameters": {}}}
ASKED = [{"role": "user", "content": "1+1"}]


def chat(**fields):
    return read_chat({"model": "digits", "messages": ASKED, **fields}, LIMITS)


def completions(**fields):
    return read_completions({"model": "digits", "prompt": "1", **fields}, LIMITS, 5)


def test_without_options_the_whole_softmax_is_drawn_from():
    options = chat().options
    assert options.drawn_from == Distribution()
    assert (options.count, options.limit, options.default_limit) == (1, None, 24)
    assert options.seed is None
    assert not (options.stream)
    assert not (options.logprobs)
    assert not options.token_ids
    assert completions().options.default_limit == 16


def test_options_are_read():
    options = chat(
        **{"temperature": 0, "top_k": 3, "top_p": 0.5, "n": 2, "seed": -1},
        **{"max_completion_tokens": 7, "stop": "x", "stop_token_ids": [4]},
        **{"stream": True, "stream_options": {"include_usage": True}},
        **{"logprobs": True, "presence_penalty": 0.0, "unknown": 1},
    ).options
    assert options.drawn_from == Distribution(0.0, 3, 0.5)
    assert (options.count, options.limit, options.seed) == (2, 7, -1)
    assert (options.stop_strings, options.stop_tokens) == (("x",), {4})
    assert options.stream
    assert options.usage
    assert options.logprobs


def test_vllms_way_to_say_all_tokens_is_understood():
    assert chat(top_k=-1).options.drawn_from == Distribution()


def test_contents_and_calls_become_what_templates_read():
    call = {"id": "a", "type": "function"}
    call["function"] = {"name": "add", "arguments": '{"x": 1}'}
    none = {**call, "function": {"name": "add", "arguments": "null"}}
    parts = [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]
    messages = [
        {"role": "user", "content": parts, "name": None},
        {"role": "assistant", "content": None, "tool_calls": [call, none]},
    ]
    first, second = chat(messages=messages).messages
    assert first == {"role": "user", "content": "12"}
    assert second["content"] == ""
    arguments = [one["function"]["arguments"] for one in second["tool_calls"]]
    assert arguments == [{"x": 1}, {}]


@pytest.mark.parametrize(
    ("choice", "count"), [(None, 1), ("auto", 1), ("none", 0)], ids=str
)
def test_tools_may_be_left_out(choice, count):
    assert len(chat(tools=[TOOL], tool_choice=choice).tools) == count


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("1", ["1"]), ([3, 4], [[3, 4]]), (["1", [3]], ["1", [3]])],
)
def test_prompts_are_texts_or_token_ids(prompt, expected):
    assert completions(prompt=prompt).prompts == expected


@pytest.mark.parametrize(
    ("read", "fields", "message"),
    [
        (chat, {"temperature": "hot"}, "temperature must be a number, not 'hot'"),
        (chat, {"temperature": -1}, "temperature is -1, not from 0"),
        (chat, {"temperature": float("nan")}, "temperature must be a number"),
        (chat, {"temperature": 10**400}, "temperature must be a number"),
        (chat, {"top_p": 0}, "top_p must be more than 0"),
        (chat, {"top_p": True}, "top_p must be a number, not True"),
        (chat, {"top_k": 17}, "top_k is 17, not from -1 to 16"),
        (chat, {"n": 7}, "n is 7, not from 1 to 6"),
        (chat, {"max_tokens": 25}, "max_tokens is 25, not from 1 to 24"),
        (chat, {"max_tokens": 1.5}, "max_tokens must be an integer"),
        (chat, {"seed": 2**63}, "seed is"),
        (chat, {"stop": ["a", ""]}, "stop must be a text"),
        (chat, {"stop": ["a"] * 17}, "up to 16"),
        (chat, {"stop_token_ids": [16]}, "token ids from 0 to 15"),
        (chat, {"stream": 1}, "stream must be true or false"),
        (chat, {"top_logprobs": 2}, "only sampled tokens' are known"),
        (chat, {"presence_penalty": 1}, "presence_penalty is not served"),
        (chat, {"response_format": {"type": "json_object"}}, "response_format is not"),
        (chat, {"messages": []}, "at least one"),
        (chat, {"messages": "1"}, "list of messages"),
        (chat, {"messages": [{"content": "1"}]}, r"messages\[0\] must be an object"),
        (chat, {"messages": [{"role": "user", "content": 1}]}, "must be a text"),
        (
            chat,
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "parts of type text only",
        ),
        (
            chat,
            {"messages": [{"role": "assistant", "tool_calls": [{"id": 1}]}]},
            "calls of functions",
        ),
        (chat, {"tools": [{}]}, "tools must be a list"),
        (chat, {"tool_choice": "required"}, "tool_choice must be auto or none"),
        (completions, {"prompt": []}, "prompt must be a text"),
        (completions, {"prompt": [True]}, "token ids"),
        (completions, {"prompt": [[16]]}, "token ids from 0 to 15"),
        (completions, {"prompt": [1, "2"]}, "token ids"),
        (completions, {"prompt": ["1"] * 4, "n": 2}, "more than 6 answers"),
        (completions, {"prompt": ["1"] * 2, "stream": True}, "must be one"),
        (completions, {"logprobs": 2}, "only with echo"),
        (completions, {"prompt_logprobs": 6}, "prompt_logprobs is 6"),
        (completions, {"echo": True, "stream": True}, "goes with neither"),
    ],
)
def test_what_cannot_be_served_is_a_400_that_names_the_field(read, fields, message):
    with pytest.raises(RequestError, match=message) as caught:
        read(**fields)
    assert caught.value.status == 400
    assert caught.value.param.partition("[")[0] in {*fields, "prompt", "stream"}


def test_another_model_is_not_found():
    with pytest.raises(RequestError, match="'x' does not exist; this is 'digits'") as e:
        chat(model="x")
    assert (e.value.status, e.value.code) == (404, "model_not_found")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"\xff\xfe", b'{"a": "\\ud800"}', b"[" * 100_000],
    ids=["empty", "cut off", "list", "no text", "half a character", "deep"],
)
def test_what_is_no_json_object_is_a_400(content):
    with pytest.raises(RequestError, match="the body is not") as caught:
        read_json(content)
    assert caught.value.status == 400


def test_a_json_object_is_read():
    assert read_json(json.dumps({"ä": 1}).encode()) == {"ä": 1}
