"""GRPO on a generated task of reasoning-gym, here sums and differences of numbers.

Paper: Stojanovski et al., 2025, REASONING GYM, arXiv:2505.24760; method as in
configs/grpo_gsm8k_qwen3.py. The task is chosen by its name and config, below.

    pip install 'jaxrl[tasks]'
    export MODEL_DIR=checkpoints/Qwen3-0.6B  # config.json, *.safetensors, tokenizer
    jaxrl train configs/grpo_reasoning_gym.py

Hardware: sized for one accelerator with 80 GB; not measured here.
Expected: not measured here (see configs/README.md).
"""

import dataclasses

from configs.grpo_gsm8k_qwen3 import config as parent
from jaxrl.config import EvaluationConfig, Rollouts
from jaxrl.data.sources import reasoning_gym
from jaxrl.rollout.types import Problem
from jaxrl.tasks.reasoning_gym import reasoning_gym_reward

INSTRUCTION = "Give your final answer between <answer> and </answer>."


def chat(problem: Problem) -> Problem:
    """The question as a chat message."""
    text = f"{problem.prompt}\n\n{INSTRUCTION} /no_think"
    return dataclasses.replace(problem, prompt=[{"role": "user", "content": text}])


# One draw, then split: reasoning-gym seeds item i with seed + i, so that the draws of
# neighbouring seeds hold nearly the same problems.
TASK = {"min_terms": 4, "max_terms": 6, "min_digits": 3, "max_digits": 4}
PROBLEMS = [chat(p) for p in reasoning_gym("chain_sum", size=4352, seed=0, **TASK)]
HELD_OUT, TRAIN = PROBLEMS[:256], PROBLEMS[256:]

config = dataclasses.replace(
    parent,
    name="grpo_reasoning_gym",
    data=Rollouts(
        problems=TRAIN,
        reward=reasoning_gym_reward,
        prompts_per_step=32,
        samples_per_prompt=8,
        max_prompt_tokens=192,
        max_new_tokens=384,
        reward_workers=4,
    ),
    evaluation=EvaluationConfig(
        problems=HELD_OUT, reward=reasoning_gym_reward, every=20
    ),
)
