"""Where jaxrl differs from a reference on purpose; README.md lists the same names.

An entry is `(family, function, output): Deviation(reason, compared)`. `compared` says
which entries of the output must agree all the same.
"""

from tests.golden.cases import Deviation

DEVIATIONS: dict[tuple[str, str, str], Deviation] = {}
