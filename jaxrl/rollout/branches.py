"""Decision points of an episode: how uncertain one is, and which messages it trains."""

from collections.abc import Sequence

import numpy as np


def branch_window(roles: Sequence[str], branch: int, *, turns: int = 3) -> list[bool]:
    """Assistant messages that a branch at one message is credited for.

    Scan from the branch on: every assistant message is trained until `turns` turns have
    passed. A turn ends at a user message once an assistant message was seen.

    Args:
      roles: Role of each message, "assistant", "user" or another.
      branch: Index of the message where the pair's answers part; 0 trains all.
      turns: Turns to train; 0 trains all that follow the branch.

    Returns:
      For each message, whether its tokens are trained.

    Reference: SelSkill, arXiv:2606.00510, as released.

    >>> branch_window(["user", "assistant", "user", "assistant"], 1, turns=1)
    [False, True, False, False]
    """
    trained = [False] * len(roles)
    answered, passed = False, 0
    for i in range(max(branch, 0), len(roles)):
        if roles[i] == "assistant":
            trained[i] = answered = True
        elif roles[i] == "user" and answered:
            passed += 1
            if branch > 0 and passed == turns:
                break
    return trained


def decision_entropy(top_logp: np.ndarray, *, tokens: int = 10) -> float:
    """Uncertainty of a decision: mean entropy of its first tokens, nats.

    Over the returned log-probabilities alone, not renormalised.

    Args:
      top_logp: float [T, K]. Log-probabilities of the likeliest tokens at each step;
        -inf where fewer were returned.
      tokens: Steps to look at.

    Returns:
      The mean of `-sum p log p`; 0 without tokens.

    Reference: SelSkill, arXiv:2606.00510.

    >>> round(decision_entropy(np.log([[0.5, 0.5]])), 3)
    0.693
    """
    logp = np.asarray(top_logp)[:tokens]
    live = np.isfinite(logp)
    terms = np.where(live, -np.exp(logp) * np.where(live, logp, 0.0), 0.0)
    return float(terms.sum() / max(len(logp), 1))
