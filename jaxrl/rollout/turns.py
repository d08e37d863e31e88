"""Rewards of turns, in the columns of the batch where turn-level methods read them."""

import dataclasses

from jaxrl.errors import UserError
from jaxrl.rollout.types import Trace


def turns_as_channels(trace: Trace, *, turns: int) -> Trace:
    """Append the reward of each turn, less its penalty, to the channels of the trace.

    `Duca` reads the session's reward from channel 0 and the turns' from the following
    ones; `Gtpo` reads turns from channel 0 on, so give it a trace without rewards.

    Args:
      trace: Its turns have rewards.
      turns: Longest trace K; missing turns get 0, which nothing reads.

    Returns:
      The trace with `len(trace.rewards) + turns` rewards.
    """
    missing = turns - len(trace.turns)
    if missing < 0:
        raise UserError(
            f"turns: {turns} is less than the {len(trace.turns)} turns of a trace; "
            "allow as many as the episodes may have"
        )
    own = tuple(turn.reward - turn.penalty for turn in trace.turns)
    kept = tuple(dataclasses.replace(turn, penalty=0.0) for turn in trace.turns)
    rewards = trace.rewards + own + (0.0,) * missing
    return dataclasses.replace(trace, turns=kept, rewards=rewards)
