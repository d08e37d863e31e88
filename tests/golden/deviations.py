"""Where jaxrl differs from a reference on purpose; README.md lists the same names.

An entry is `(family, function, output): Deviation(reason, compared)`. `compared` says
which entries of the output must agree all the same.
"""

from tests.golden.cases import Deviation

DEVIATIONS: dict[tuple[str, str, str], Deviation] = {}

DRAWN: dict[tuple[str, str], tuple[str, ...]] = {
    ("verl_loss", "clip_cov"): ("selected",)
}
"""Outputs that a reference drew at random: adapters get them as inputs, and check that
they could have been drawn."""

ON_HOST = {
    ("dynamo_allocation", "allocation"),
    ("dynamo_allocation", "stats_update"),
    ("dynamo_allocation", "recipe_variant_stats_update"),
    ("gigpo", "step_returns"),
    ("llada", "masked_counts"),
    ("rlax", "lambda_returns"),
    ("rlax", "n_step_returns"),
    ("rlax", "truncated_gae"),
    ("rlax", "vtrace"),
    ("selskill", "decision_entropy"),
    ("verl_adv", "gae"),
    ("verl_adv", "optimal_token_baseline"),
}
"""Functions on the host, or whose adapters read floats there: these aren't compiled."""
