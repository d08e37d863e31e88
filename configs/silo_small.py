"""A small team of Silo-Bench learns to tell and to listen, by GRPO.

Paper: Silo-Bench, arXiv:2603.01045 (environment; jaxrl/tasks/silo/README.md says what
is our own); Shao et al., 2024, DeepSeekMath, arXiv:2402.03300 (GRPO). One policy plays
all three agents, which hold a third of an input each. All get the share of right
answers plus partial correctness. Two tasks of level I, the vote and the alarm, are
drawn anew, not the benchmark's own instances (seed 42). Differs from the paper: a
policy of half a million parameters, warmed up on demonstrations.

    python benchmarks/silo_team.py --prepare   # once: the start
    jaxrl train configs/silo_small.py

Hardware: 2 CPU cores.
Expected: see configs/README.md.
"""

from configs.silo_small_warmup import RUNS
from jaxrl.config import (
    CheckpointConfig,
    ModelConfig,
    OptimizerConfig,
    Rollouts,
    RunConfig,
)
from jaxrl.methods.grpo import Grpo
from jaxrl.rollout.environment import Environment, plain
from jaxrl.rollout.tool_calls import no_calls
from jaxrl.tasks.silo.environment import Rules
from jaxrl.tasks.silo.protocols import PROTOCOLS
from jaxrl.tasks.silo.small import AGENTS, PROTOCOL, ROUNDS, TRADES, WIRE
from jaxrl.tasks.silo.training import CHANNELS, SiloTeam, problems, seats

config = RunConfig(
    name="silo_small",
    data=Rollouts(
        problems([*TRADES], 400, seed=1000),
        prompts_per_step=8,
        samples_per_prompt=8,
        max_prompt_tokens=96,
        max_new_tokens=6,
        packed=True,
        environment=Environment(
            plain(SiloTeam(PROTOCOLS[PROTOCOL], WIRE, Rules(rounds=ROUNDS))),
            agents=seats(AGENTS),
            reward_channels=CHANNELS,
            # Calls are written in the text, where the environment reads them.
            parse=no_calls,
            max_turns=ROUNDS,
            concurrency=64,
        ),
    ),
    method=Grpo(),
    model=ModelConfig(path=RUNS / "silo_small_warmup" / "model"),
    optimizer=OptimizerConfig(
        learning_rate=5e-4, schedule="linear", warmup_steps=5, b2=0.99
    ),
    checkpoint=CheckpointConfig(every=0),
    steps=100,
    output=RUNS,
)
