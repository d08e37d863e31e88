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
