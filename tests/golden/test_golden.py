"""jaxrl agrees with the published implementations, case by case."""

from pathlib import Path

import jax
import numpy as np
import pytest

from tests.golden.cases import adapter_of, cases_in, disagreement, in_float32
from tests.golden.deviations import DEVIATIONS, DRAWN, ON_HOST

README = Path(__file__).parent / "README.md"


def everything(hp, inputs):
    return True


def compared(case, output, hp, inputs):
    """Which entries of an output count: all, unless there is a deviation."""
    deviation = DEVIATIONS.get((case.family, case.function, output))
    return (deviation.compared if deviation else everything)(hp, inputs)


def compiled(adapter):
    """Outputs of the adapter as one program of its floats.

    Ids and masks stay constants, which adapters may read. One program compiles faster
    than its operations one by one: all cases took 53 s of CPU instead of 105 s.
    """

    def run(hp, inputs):
        floats = {k: x for k, x in inputs.items() if x.dtype.kind == "f"}
        return jax.jit(lambda traced: adapter(hp, inputs | traced))(floats)

    return run


def test_jaxrl_gives_the_numbers_of_the_reference(case):
    adapter = adapter_of(case.family, case.function)
    hp, inputs, expected = case.hp(), case.arrays("in"), case.arrays("out")
    single = in_float32(inputs)
    drawn = DRAWN.get((case.family, case.function), ())
    inputs |= {name: expected[name] for name in drawn}
    with (
        jax.enable_x64(not single),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        run = adapter if (case.family, case.function) in ON_HOST else compiled(adapter)
        found = {k: np.asarray(x) for k, x in run(hp, inputs).items()}
    assert found.keys() >= expected.keys()
    tolerance = 1e-4 if single else 1e-5
    wrong = {
        name: problem
        for name, x in expected.items()
        if (
            problem := disagreement(
                found[name], x, tolerance, compared(case, name, hp, inputs)
            )
        )
    }
    assert not wrong, f"{hp}: {wrong}"


@pytest.mark.parametrize(
    ("found", "expected", "agrees"),
    [
        ([1.0, 10.00009], [1.0, 10.0], True),
        ([1.0, 10.00011], [1.0, 10.0], False),
        ([0.0, 0.0], [0.0, 0.0], True),
        ([0.0, 1e-6], [0.0, 0.0], False),
        ([np.nan, 1.0], [np.nan, 1.0], True),
        ([0.0, 1.0], [np.nan, 1.0], False),
        ([np.nan, 1.0], [0.0, 1.0], False),
        ([np.inf, 1.0], [np.inf, 1.0], True),
        ([1.0], [1.0, 1.0], False),
        ([1, 0], [True, False], True),
        ([1, 1], [True, False], False),
    ],
)
def test_agreement_tells_right_from_wrong(found, expected, agrees):
    problem = disagreement(np.array(found), np.array(expected), 1e-5)
    assert (problem == "") is agrees


def test_entries_outside_of_a_deviation_are_compared():
    found, expected = np.array([1.0, 2.0]), np.array([1.0, 1.0])
    assert not disagreement(found, expected, 1e-5, compared=[True, False])
    assert disagreement(found, expected, 1e-5, compared=[False, True])


@pytest.mark.parametrize("name", [("no_such_family", "x"), ("verl_agg", "no_such")])
def test_a_family_or_function_without_an_adapter_fails(name):
    with pytest.raises(LookupError, match=r"no_such"):
        adapter_of(*name)


def test_a_directory_without_vectors_fails(tmp_path):
    with pytest.raises(FileNotFoundError, match="no golden vectors"):
        cases_in(tmp_path)


def test_every_deviation_is_explained():
    text = README.read_text()
    for family, function in DRAWN:
        assert f"`{family}` {function}" in text
    for family, function, output in DEVIATIONS:
        assert f"| {family} | {function} | {output} |" in text
