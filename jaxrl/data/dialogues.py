"""Demonstrations of several turns as tokens, as an environment would write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jaxrl.data.templates import language
from jaxrl.data.tokenise import demonstration_tokens, response_tokens
from jaxrl.errors import UserError
from jaxrl.rollout.dialogue import Exchange, prompt_after
from jaxrl.rollout.tool_calls import no_calls
from jaxrl.rollout.types import Completion, Problem, prompt_messages

if TYPE_CHECKING:  # Importing transformers takes seconds, and only its type is needed.
    from transformers import PreTrainedTokenizerBase


def demonstration_turns(
    tokenizer: PreTrainedTokenizerBase, problem: Problem
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Prompts and responses of a demonstration, each prompt with all that came before.

    Args:
      tokenizer: A Hugging Face tokenizer.
      problem: Its `answer` is the text to imitate, or messages that follow the prompt,
        of which the assistant's are imitated. `extra["tools"]` are declared to the chat
        template.

    Returns:
      Of each turn, prompt int32 [t] and response int32 [u] with its end.

    Raises:
      UserError: If there is no chat template, or it rewrites what came before.
    """
    if isinstance(problem.answer, str):
        return [demonstration_tokens(tokenizer, problem)]
    if tokenizer.chat_template is None:
        raise UserError(
            f"problem {problem.id}: the answer is chat messages and the tokenizer has "
            "no chat template; give a text, or a checkpoint with a chat template"
        )
    spoken = language(tokenizer, template=None, parse=no_calls)
    tools = problem.extra.get("tools", ())
    messages, last = prompt_messages(problem), None
    turns: list[tuple[np.ndarray, np.ndarray]] = []
    for message in problem.answer:
        if message["role"] == "assistant":
            prompt = prompt_after(spoken, last, messages, tools)
            before = [] if last is None else [*last.prompt, *last.completion.tokens]
            if prompt[: len(before)].tolist() != before:
                raise UserError(
                    f"problem {problem.id}: the chat template rewrites earlier turns "
                    f"before turn {len(turns) + 1}; give each turn as a problem"
                )
            response = response_tokens(tokenizer, message["content"])
            logp = np.zeros(len(response), np.float32)
            said = Completion(response, logp, version=0, finished=True)
            last = Exchange(list(messages), tools, prompt, said)
            turns.append((prompt, response))
        messages.append(message)
    return turns
