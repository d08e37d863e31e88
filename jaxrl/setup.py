"""From a config to the parts of a run: model, steps, source of batches, evaluator."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
from transformers import GenerationConfig, PreTrainedTokenizerBase

from jaxrl.config import Demonstrations, RunConfig
from jaxrl.data.sources import problems
from jaxrl.data.tokenise import check_lengths, decoder, prompt_tokens
from jaxrl.errors import UserError
from jaxrl.evaluation import Evaluation, evaluate, final_answer
from jaxrl.optimizer import make_optimizer
from jaxrl.rollout.pool import RewardPool
from jaxrl.rollout.sampler import Sampler
from jaxrl.rollout.shapes import sampler_shape
from jaxrl.rollout.types import Reward, Sampling
from jaxrl.scoring import Distribution
from jaxrl.source import DemonstrationSource, RolloutSource, Source
from jaxrl.step import (
    CreditStep,
    TrainStep,
    as_old_entropy,
    as_reference,
    init_state,
    make_credit_step,
    make_score_step,
    make_train_step,
)
from jaxrl.types import Batch, Params, TrainState
from models.api import LanguageModel
from models.huggingface import load, load_tokenizer

EVALUATION = 2**31 - 1
"""The step that names the noise of evaluations: none of training's."""

Evaluate = Callable[[Params], Evaluation]


@dataclasses.dataclass(frozen=True)
class Policy:
    """What a checkpoint holds, and how it is sampled from.

    Attributes:
      model: The decoder.
      params: As stored in the checkpoint.
      tokenizer: Of the checkpoint.
      sampling: How responses are drawn.
    """

    model: LanguageModel
    params: Params
    tokenizer: PreTrainedTokenizerBase
    sampling: Sampling


@dataclasses.dataclass(frozen=True)
class Parts:
    """What trains a policy.

    Attributes:
      state: Before the first update.
      score: Adds the evidence that the method needs, `(params, batch) -> batch`.
      credit: The method's credit, jitted.
      update: The train step, jitted.
    """

    state: TrainState
    score: Callable[[Params, Batch], Batch]
    credit: CreditStep
    update: TrainStep


def load_policy(config: RunConfig) -> Policy:
    """Load the checkpoint that a config starts from."""
    path = config.model.path
    tokenizer = load_tokenizer(path)
    model, params = _load(config, path)
    sampling = _sampling(config, stop_tokens(path, tokenizer))
    return Policy(model, params, tokenizer, sampling)


def prepare(config: RunConfig, policy: Policy) -> Parts:
    """Bind the steps; nothing compiles yet."""
    part = config.optimizer
    optimizer = make_optimizer(part, config.steps * part.epochs * part.minibatches)
    distribution = _distribution(config)
    return Parts(
        state=init_state(policy.params, optimizer),
        score=_score_step(config, policy.model, distribution),
        credit=make_credit_step(config.method),
        update=make_train_step(
            policy.model,
            config.method,
            optimizer,
            distribution=distribution,
            micro=part.micro_batches,
            minibatches=part.minibatches,
        ),
    )


@contextlib.contextmanager
def make_source(config: RunConfig, policy: Policy) -> Iterator[Source]:
    """The source that the config's data asks for."""
    data, tokenizer = config.data, policy.tokenizer
    limit = policy.model.config.max_positions
    if isinstance(data, Demonstrations):
        yield DemonstrationSource(data, tokenizer, seed=config.seed, max_tokens=limit)
        return
    if data.max_prompt_tokens + data.max_new_tokens > limit:
        raise UserError(
            f"data.max_prompt_tokens + data.max_new_tokens is {data.max_prompt_tokens} "
            f"+ {data.max_new_tokens}, the model takes {limit} tokens; lower one"
        )
    shape = sampler_shape(
        prompts=data.prompts_per_step,
        samples=data.samples_per_prompt,
        max_prompt_tokens=data.max_prompt_tokens,
        max_new_tokens=data.max_new_tokens,
    )
    decode = decoder(tokenizer)
    sampler = Sampler(policy.model, policy.params, shape, decode=decode)
    rewards = data.reward if isinstance(data.reward, tuple) else (data.reward,)
    workers, deadline = data.reward_workers, data.reward_deadline
    with RewardPool(workers=workers, deadline=deadline) as pool:
        pool.prepare(rewards)
        score = partial(pool.score, rewards)
        yield RolloutSource(config, data, tokenizer, sampler, policy.sampling, score)


@contextlib.contextmanager
def evaluator(config: RunConfig, policy: Policy) -> Iterator[Evaluate | None]:
    """A function that evaluates parameters on held-out problems, if there are any."""
    part, tokenizer = config.evaluation, policy.tokenizer
    if part.problems is None:
        yield None
        return
    found = problems(part.problems)
    found = found[: part.limit] if part.limit else found
    shape = sampler_shape(
        prompts=min(64, len(found)),
        samples=1,
        max_prompt_tokens=check_lengths(
            tokenizer, found, policy.model.config.max_positions
        ),
        max_new_tokens=policy.sampling.max_new_tokens,
    )
    decode = decoder(tokenizer)
    sampler = Sampler(policy.model, policy.params, shape, decode=decode)
    reward = evaluation_reward(config)
    with RewardPool(workers=1, deadline=30.0) as pool:
        pool.prepare([reward])

        def measure(params: Params) -> Evaluation:
            sampler.update(params, 0)
            return evaluate(
                sampler.generate,
                found,
                partial(pool.score, [reward]),
                encode=partial(prompt_tokens, tokenizer),
                decode=decode,
                sampling=policy.sampling,
                samples=part.samples,
                answer=part.answer or final_answer,
                seed=(config.seed, EVALUATION),
            )

        yield measure


def evaluation_reward(config: RunConfig) -> Reward:
    """The reward that decides what is correct."""
    if config.evaluation.reward is not None:
        return config.evaluation.reward
    if isinstance(config.data, Demonstrations):
        raise UserError(
            "evaluation.reward is empty and demonstrations have no reward; set it to a "
            "function (problem, text) -> float"
        )
    reward = config.data.reward
    return reward[0] if isinstance(reward, tuple) else reward


def stop_tokens(path: Path, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Tokens that end a response: the tokenizer's and the generation config's."""
    found: list[Any] = [tokenizer.eos_token_id]
    if (path / "generation_config.json").exists():
        more = GenerationConfig.from_pretrained(path).eos_token_id
        found += more if isinstance(more, Sequence) else [more]
    return tuple(sorted({token for token in found if token is not None}))


def _load(config: RunConfig, path: Path) -> tuple[LanguageModel, Params]:
    part = config.model
    return load(path, dtype=part.dtype, param_dtype=part.param_dtype, remat=part.remat)


def _distribution(config: RunConfig) -> Distribution:
    data = config.data
    if isinstance(data, Demonstrations):
        return Distribution()
    return Distribution(data.temperature, data.top_k, data.top_p)


def _sampling(config: RunConfig, stops: tuple[int, ...]) -> Sampling:
    data = config.data
    if isinstance(data, Demonstrations):
        return Sampling(config.evaluation.max_new_tokens, stop_tokens=stops)
    return Sampling(
        max_new_tokens=data.max_new_tokens,
        temperature=data.temperature,
        top_k=data.top_k,
        top_p=data.top_p,
        stop_tokens=stops,
        stop_strings=data.stop_strings,
    )


def _score_step(
    config: RunConfig, model: LanguageModel, distribution: Distribution
) -> Callable[[Params, Batch], Batch]:
    """Score under everything that the method needs."""
    needs, part = config.method.needs, config.optimizer
    make = partial(
        make_score_step,
        distribution=distribution,
        micro=part.micro_batches * part.minibatches,
    )
    old = make(model, as_old_entropy, entropy=True) if needs.entropy else None
    reference = None
    if needs.reference:
        path = config.model.reference_path or config.model.path
        frozen_model, frozen = _load(config, path)
        reference = partial(make(frozen_model, as_reference), frozen)

    def score(params: Params, batch: Batch) -> Batch:
        # Placed once; the steps that follow would each transfer it again.
        batch = jax.device_put(batch)
        if old is not None:
            batch = old(params, batch)
        return batch if reference is None else reference(batch)

    return score
