"""Answers of servers read into views, right and wrong ones, without a network."""

import copy
import json

import numpy as np
import pytest

from jaxrl.rollout.logprobs import AnswerError, echoed_logprobs, prompt_logprobs
from jaxrl.rollout.teacher import ScoredSequence

TOKENS = np.array([3, 5, 7, 2], np.int32)
SEQUENCE = ScoredSequence(TOKENS, np.array([False, False, True, True]), 0, 0, 0, 0)

# At the third token the prompt's own is outside of the two likeliest: K + 1 entries.
BY_ID = {
    "choices": [
        {
            "prompt_logprobs": [
                None,
                {"5": {"logprob": -1.5, "rank": 1, "decoded_token": "f"}},
                {
                    "7": {"logprob": -4.0, "rank": 9, "decoded_token": "h"},
                    "1": {"logprob": -0.5, "rank": 1, "decoded_token": "b"},
                    "6": {"logprob": -1.0, "rank": 2, "decoded_token": "g"},
                },
                {
                    "2": {"logprob": -0.25, "rank": 1, "decoded_token": "c"},
                    "9": {"logprob": -2.0, "rank": 2, "decoded_token": "j"},
                },
            ]
        }
    ]
}
ECHO = {
    "choices": [
        {
            "logprobs": {
                "tokens": [f"token_id:{i}" for i in (3, 5, 7, 2, 0)],
                "token_logprobs": [None, -1.5, -4.0, -0.25, -0.1],
                "top_logprobs": [
                    None,
                    {"token_id:5": -1.5},
                    {"token_id:7": -4.0, "token_id:1": -0.5, "token_id:6": -1.0},
                    {"token_id:2": -0.25, "token_id:9": -2.0},
                    {"token_id:0": -0.1},
                ],
            }
        }
    ]
}
FORMS = pytest.mark.parametrize(
    ("scoring", "answer"),
    [(prompt_logprobs, BY_ID), (echoed_logprobs, ECHO)],
    ids=["prompt_logprobs", "echo"],
)


def ask(scoring, answer, top_k, sequence=SEQUENCE):
    """The view, and the fields that were sent."""
    sent = []

    def post(fields):
        sent.append(json.loads(json.dumps(fields)))
        return answer

    return scoring(post, sequence, top_k), sent[0]


def entry(answer, place):
    """Where the log-probability of a token is written: its holder and its key."""
    choice = answer["choices"][0]
    if "logprobs" in choice:
        return choice["logprobs"]["token_logprobs"], place
    return choice["prompt_logprobs"][place][str(TOKENS[place])], "logprob"


def candidates(answer, place):
    choice = answer["choices"][0]
    if "logprobs" in choice:
        return choice["logprobs"]["top_logprobs"][place]
    return choice["prompt_logprobs"][place]


def named(answer, token, value):
    """A candidate of the answer's form."""
    if "logprobs" in answer["choices"][0]:
        return {f"token_id:{token}": value}
    return {str(token): {"logprob": value}}


@FORMS
def test_trained_tokens_get_their_own_log_probability(scoring, answer):
    view, _ = ask(scoring, answer, 0)
    assert view.logp.tolist() == [0.0, 0.0, -4.0, -0.25]
    assert view.logp.dtype == np.float32
    assert view.top_ids.shape == (4, 0)


@FORMS
def test_the_k_likeliest_are_kept_in_order(scoring, answer):
    view, _ = ask(scoring, answer, 2)
    assert view.top_ids[2:].tolist() == [[1, 6], [2, 9]]
    assert view.top_logp[2:].tolist() == [[-0.5, -1.0], [-0.25, -2.0]]
    assert view.top_valid.tolist() == [[False] * 2, [False] * 2, [True] * 2, [True] * 2]


@FORMS
def test_fewer_than_k_are_invalid_beyond(scoring, answer):
    view, _ = ask(scoring, answer, 4)
    assert view.top_valid[2].tolist() == [True, True, True, False]
    assert view.top_ids[2].tolist() == [1, 6, 7, 0]
    assert view.top_valid[3].tolist() == [True, True, False, False]


@FORMS
@pytest.mark.parametrize(
    "value", [None, float("nan"), float("-inf"), -9999.0, "x", True]
)
def test_a_likely_token_without_a_number_is_no_candidate(scoring, answer, value):
    answer = copy.deepcopy(answer)
    candidates(answer, 2).update(named(answer, 4, value))
    view, _ = ask(scoring, answer, 4)
    assert view.top_ids[2].tolist() == [1, 6, 7, 0]
    assert view.top_valid[2].tolist() == [True, True, True, False]


@FORMS
@pytest.mark.parametrize(
    "value",
    [None, float("nan"), float("-inf"), float("inf"), -9999.0, 0.5, "-1.0", False, []],
)
def test_a_trained_token_without_a_log_probability_is_an_error(scoring, answer, value):
    answer = copy.deepcopy(answer)
    holder, key = entry(answer, 2)
    holder[key] = value
    with pytest.raises(AnswerError, match="token 7 at position 2"):
        ask(scoring, answer, 0)


@FORMS
def test_a_context_token_may_lack_one(scoring, answer):
    answer = copy.deepcopy(answer)
    holder, key = entry(answer, 1)
    holder[key] = None
    view, _ = ask(scoring, answer, 2)
    assert view.logp.tolist() == [0.0, 0.0, -4.0, -0.25]


def test_a_prompt_token_that_is_not_named_is_an_error():
    answer = copy.deepcopy(BY_ID)
    del answer["choices"][0]["prompt_logprobs"][3]["2"]
    with pytest.raises(AnswerError, match="token 2 at position 3"):
        ask(prompt_logprobs, answer, 2)


@FORMS
@pytest.mark.parametrize("length", [0, 3])
def test_an_answer_that_is_too_short_is_an_error(scoring, answer, length):
    answer = copy.deepcopy(answer)
    choice = answer["choices"][0]
    for holder in (choice, choice.get("logprobs", {})):
        for name, value in holder.items():
            if isinstance(value, list):
                holder[name] = value[:length]
    with pytest.raises(AnswerError, match=f"has {length} entries, not 4"):
        ask(scoring, answer, 0)


def test_prompt_logprobs_of_a_longer_prompt_are_an_error():
    """A token in front, of a server that adds one, would shift all others."""
    answer = copy.deepcopy(BY_ID)
    answer["choices"][0]["prompt_logprobs"].insert(0, None)
    with pytest.raises(AnswerError, match="has 5 entries, not 4"):
        ask(prompt_logprobs, answer, 0)


@pytest.mark.parametrize("name", ["tokens", "token_logprobs", "top_logprobs"])
def test_each_echoed_list_has_to_be_whole(name):
    answer = copy.deepcopy(ECHO)
    answer["choices"][0]["logprobs"][name] = answer["choices"][0]["logprobs"][name][:2]
    with pytest.raises(AnswerError, match=f"{name} has 2 entries, not 4"):
        ask(echoed_logprobs, answer, 2)


def test_an_echo_with_a_token_in_front_is_an_error():
    """Without ids only their number tells, in the lists or in what was counted."""
    answer = copy.deepcopy(ECHO)
    said = answer["choices"][0]["logprobs"]
    said["tokens"] = list("dfhca")
    said["token_logprobs"] = [None, *said["token_logprobs"]]
    with pytest.raises(AnswerError, match=r"has 6 entries for 4 \+ 1"):
        ask(echoed_logprobs, answer, 0)
    said["token_logprobs"].pop()
    answer["usage"] = {"prompt_tokens": 5}
    with pytest.raises(AnswerError, match="made 5 tokens of 4"):
        ask(echoed_logprobs, answer, 0)


def test_an_echo_of_other_tokens_is_an_error():
    answer = copy.deepcopy(ECHO)
    answer["choices"][0]["logprobs"]["tokens"][0] = "token_id:1"
    with pytest.raises(AnswerError, match="position 0 echoes 'token_id:1'"):
        ask(echoed_logprobs, answer, 1)


def test_an_echo_named_by_text_serves_sampled_tokens_but_no_candidates():
    """Two tokens can have the same text, so ids can't be told from it."""
    answer = copy.deepcopy(ECHO)
    answer["choices"][0]["logprobs"]["tokens"] = list("dfhca")
    view, sent = ask(echoed_logprobs, answer, 0)
    assert view.logp.tolist() == [0.0, 0.0, -4.0, -0.25]
    assert "return_tokens_as_token_ids" not in sent
    with pytest.raises(AnswerError, match="name tokens by id"):
        ask(echoed_logprobs, answer, 2)


@pytest.mark.parametrize("scoring", [prompt_logprobs, echoed_logprobs])
@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "text",
        {},
        {"choices": []},
        {"choices": None},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": [{"prompt_logprobs": None, "logprobs": None}]},
        {"choices": [{"prompt_logprobs": {}, "logprobs": []}]},
        {"choices": [{"prompt_logprobs": [None] * 4, "logprobs": {}}]},
        {"choices": [{"prompt_logprobs": [None, {}, {"x": {}}, {}], "logprobs": 1}]},
        {"choices": [{"prompt_logprobs": [None, {}, {"7": -1.0}, {}], "logprobs": 1}]},
        {"choices": [{"prompt_logprobs": [None, {}, {"9" * 5000: {}}, {}]}]},
    ],
)
def test_an_answer_of_another_shape_is_an_error(scoring, answer):
    with pytest.raises(AnswerError):
        ask(scoring, answer, 2)


@pytest.mark.parametrize(
    "key", ["token_id:", "token_id:x", "token_id:-1", "token_id:²", "token_id:٣"]
)
def test_a_candidate_without_an_id_is_an_error(key):
    answer = copy.deepcopy(ECHO)
    candidates(answer, 2)[key] = -1.0
    with pytest.raises(AnswerError, match="names no token id"):
        ask(echoed_logprobs, answer, 2)


@FORMS
def test_the_request_names_the_tokens_and_untempered_probabilities(scoring, answer):
    _, sent = ask(scoring, answer, 2)
    assert sent["prompt"] == [3, 5, 7, 2]
    assert sent["max_tokens"] == 1
    assert sent["temperature"] == sent["top_p"] == 1.0
    assert sent.get("prompt_logprobs", sent.get("logprobs")) == 2


@FORMS
def test_without_likely_tokens_one_is_asked_for(scoring, answer):
    """Servers differ in what 0 means."""
    _, sent = ask(scoring, answer, 0)
    assert sent.get("prompt_logprobs", sent.get("logprobs")) == 1
