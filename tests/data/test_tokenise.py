"""Tests of `jaxrl.data.tokenise`."""

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from jaxrl.data.tokenise import check_lengths, demonstration_tokens, prompt_tokens
from jaxrl.errors import UserError
from jaxrl.rollout.types import Problem

VOCABULARY = ["<s>", "</s>", "user", "assistant", "a", "b", "c", "?"]
ID = {word: index for index, word in enumerate(VOCABULARY)}
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} </s> {% endfor %}"
    "{% if add_generation_prompt %}assistant{% endif %}"
)


def ids(words: str) -> list[int]:
    return [ID[word] for word in words.split()]


@pytest.fixture
def tokenizer():
    words = Tokenizer(models.WordLevel(ID, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", ID["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="</s>", chat_template=TEMPLATE
    )


def test_text_follows_the_tokenizers_rule_for_special_tokens(tokenizer):
    tokens = prompt_tokens(tokenizer, Problem("x", "a b", ""))
    np.testing.assert_array_equal(tokens, ids("<s> a b"), strict=False)
    assert tokens.dtype == np.int32


def test_messages_end_where_the_assistant_begins(tokenizer):
    problem = Problem("x", ({"role": "user", "content": "a b"},), "")
    expected = ids("user a b </s> assistant")
    assert prompt_tokens(tokenizer, problem).tolist() == expected


def test_a_demonstration_ends_its_response_and_not_its_prompt(tokenizer):
    prompt, response = demonstration_tokens(tokenizer, Problem("x", "a b", "c a"))
    assert prompt.tolist() == ids("<s> a b")
    assert response.tolist() == ids("c a </s>")
    assert prompt.dtype == response.dtype == np.int32


def test_missing_chat_template_is_an_error(tokenizer):
    tokenizer.chat_template = None
    problem = Problem("x", [{"role": "user", "content": "a"}], "")
    with pytest.raises(UserError, match=r"problem x: .* no chat template"):
        prompt_tokens(tokenizer, problem)


def test_missing_end_of_sequence_token_is_an_error(tokenizer):
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="no end-of-sequence token"):
        demonstration_tokens(tokenizer, Problem("x", "a", "b"))


def test_prompts_up_to_the_limit_pass(tokenizer):
    problems = [Problem("x", "a", ""), Problem("y", "a b c", "")]
    assert check_lengths(tokenizer, problems, 4) == 4


def test_a_prompt_over_the_limit_is_named_with_its_length(tokenizer):
    problems = [
        Problem("x", "a", ""),
        Problem("y", "a b c", ""),
        Problem("z", "a b", ""),
    ]
    with pytest.raises(
        UserError,
        match=r"problem y: its prompt has 4 tokens and data\.max_prompt_tokens is 2; "
        "2 of 3 prompts are too long",
    ):
        check_lengths(tokenizer, problems, 2)


def test_a_prompt_without_tokens_is_an_error(tokenizer):
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A"
    )
    with pytest.raises(UserError, match=r"problem y: its prompt has no tokens"):
        check_lengths(tokenizer, [Problem("x", "a", ""), Problem("y", " ", "")], 8)
