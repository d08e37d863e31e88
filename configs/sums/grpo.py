"""GRPO on sums, from the warmed-up start; the parent of the other methods.

Paper: Shao et al., 2024, DeepSeekMath, arXiv:2402.03300. Differs from it: no KL term.

    python benchmarks/methods.py --prepare      # once: the start and the teacher
    jaxrl train configs/sums/grpo.py

Hardware: 2 CPU cores, about a minute.
Expected: row `grpo` of the table in configs/README.md.
"""

from configs.sums.warmup import HELD_OUT, SUMS, TRAIN
from jaxrl.config import (
    CheckpointConfig,
    EvaluationConfig,
    ModelConfig,
    OptimizerConfig,
    Rollouts,
    RunConfig,
)
from jaxrl.methods.grpo import Grpo
from jaxrl.quickstart import PROMPT_TOKENS, SOLUTION_TOKENS
from jaxrl.tasks.arithmetic import arithmetic_reward

config = RunConfig(
    name="grpo",
    data=Rollouts(
        # Few enough to meet each a few times: allocation learns what is hard.
        TRAIN[:512],
        reward=arithmetic_reward,
        prompts_per_step=32,
        samples_per_prompt=8,
        max_prompt_tokens=PROMPT_TOKENS,
        max_new_tokens=SOLUTION_TOKENS,
    ),
    method=Grpo(),
    model=ModelConfig(path=SUMS / "warmup" / "model"),
    # Two updates for each batch: where the policy has moved, methods differ.
    optimizer=OptimizerConfig(
        learning_rate=1.5e-4,
        schedule="linear",
        warmup_steps=5,
        b2=0.99,
        minibatches=2,
    ),
    evaluation=EvaluationConfig(problems=HELD_OUT),
    checkpoint=CheckpointConfig(every=0),
    steps=40,
    output=SUMS,
)
