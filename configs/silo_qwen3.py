"""GRPO on a small team of Silo-Bench: one policy plays all of its agents.

Paper: Silo-Bench, arXiv:2603.01045 (environment; jaxrl/tasks/silo/README.md says what
is our own); Shao et al., 2024, DeepSeekMath, arXiv:2402.03300 (GRPO). Three agents hold
a third of an input each, tell each other what they must by broadcast, and submit. All
get the share of right answers plus partial correctness; tasks are those of level I,
drawn anew, not the benchmark's own instances (seed 42).

    export MODEL_DIR=checkpoints/Qwen3-0.6B  # config.json, *.safetensors, tokenizer
    jaxrl train configs/silo_qwen3.py

Hardware: sized for one accelerator with 80 GB; not measured here.
Expected: not measured here. `jaxrl bench silo --tasks I --agents 3 --protocols bp` asks
a server of the policy, before and after.
"""

import dataclasses

from configs.grpo_gsm8k_qwen3 import config as parent
from jaxrl.config import EvaluationConfig, Rollouts
from jaxrl.rollout.environment import Environment, plain
from jaxrl.tasks.silo.environment import Rules
from jaxrl.tasks.silo.instances import MENDED
from jaxrl.tasks.silo.protocols import PROTOCOLS
from jaxrl.tasks.silo.training import CHANNELS, SiloTeam, problems, seats
from jaxrl.tasks.silo.wire import NativeWire

AGENTS, ROUNDS = 3, 6
LEVEL_ONE = [task.id for task in MENDED.values() if task.level == "I"]
TEAM = SiloTeam(PROTOCOLS["bp"], NativeWire(), Rules(rounds=ROUNDS, push=True))

config = dataclasses.replace(
    parent,
    name="silo_qwen3",
    data=Rollouts(
        problems=problems(LEVEL_ONE, 200, seed=1000),
        prompts_per_step=8,
        samples_per_prompt=8,
        max_prompt_tokens=4096,
        max_new_tokens=512,
        environment=Environment(
            plain(TEAM),
            agents=seats(AGENTS),
            reward_channels=CHANNELS,
            max_turns=ROUNDS,
        ),
    ),
    evaluation=EvaluationConfig(),
)
