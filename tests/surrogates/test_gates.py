"""MASPO and SAPO: the oracles of policy_opt 3.5, the invariants M1 to M6 of 3.6."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.surrogates.gates import maspo, maspo_width, sapo

TOKENS = [  # pi_old, r, A, sigma, gate, slope
    (0.5, 1.5, 1, 1.26807875, 0.92520942, 1.38781412),
    (0.5, 0.5, -1, 1.19528584, 0.91622655, 0.45811327),
    (1e-4, 3.0, 1, 10.3, 0.98132467, 2.943974),
    (0.9, 1.1, 1, 1.06307639, 0.99558551, 1.09514406),
    (0.05, 2.0, 1.5, 2.56699657, 0.92692871, 1.85385742),
    (0.05, 0.2, -1.5, 2.35067565, 0.9437335, 0.1887467),
    (0.5, 0.5, 1, None, 1, 0.5),
    (0.5, 1.5, -1, None, 1, 1.5),
]


def slope(pi_old, ratio, advantage, surrogate=maspo):
    """Slopes for arrays that broadcast."""
    pi_old, ratio, advantage = jnp.broadcast_arrays(
        *(
            jnp.asarray(x, jnp.float32).reshape(1, -1)
            for x in (pi_old, ratio, advantage)
        )
    )
    old, mask = jnp.log(pi_old), jnp.ones(pi_old.shape, bool)
    return np.asarray(surrogate(old + jnp.log(ratio), old, advantage, mask).slope)[0]


@pytest.mark.parametrize(("pi_old", "r", "advantage", "sigma", "gate", "kappa"), TOKENS)
def test_maspo_oracle(pi_old, r, advantage, sigma, gate, kappa):
    found = slope(pi_old, r, advantage)[0]
    np.testing.assert_allclose(found, kappa, rtol=1e-5)
    np.testing.assert_allclose(found / r, gate, rtol=1e-5)
    if sigma is not None:
        old, a = jnp.log(jnp.full((1, 1), pi_old)), jnp.full((1, 1), float(advantage))
        width = maspo_width(old, a, jnp.ones((1, 1), bool))
        np.testing.assert_allclose(width, sigma, rtol=1e-5)


@pytest.mark.parametrize("advantage", [-2.0, 2.0])
def test_gate_attenuates_one_side_only(advantage):
    """M1."""
    ratio = np.linspace(0.05, 3.0, 60)
    gate = slope(0.3, ratio, advantage) / ratio
    over = advantage * (ratio - 1) > 0
    np.testing.assert_allclose(gate[~over], 1.0, rtol=1e-5)
    assert np.all((gate[over] < 1) & (gate[over] > 0))
    np.testing.assert_allclose(slope(0.3, 1.0, advantage), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("sigma", "where", "largest"),
    [
        (1, 1.618034, 1.3367333),
        (2, 2.5615528, 1.888547),
        (10, 10.5124922, 6.6867419),
    ],
)
def test_largest_slope_is_where_it_should_be(sigma, where, largest):
    """M2: with constant width, nothing to either side is larger."""
    flat = partial(maspo, width=float(sigma), mass_power=0.0, positive_gain=0.0)
    found = slope(1.0, where * np.array([0.99, 1, 1.01]), 1.0, flat)
    np.testing.assert_allclose(found[1], largest, rtol=1e-5)
    assert found.argmax() == 1


def test_gate_follows_mass_and_advantage():
    """M3: narrower for likely tokens and for worse ones, wider for better ones."""
    assert np.all(np.diff(slope(np.linspace(0.05, 0.9, 9), 1.8, 1.0)) < 0)
    assert np.all(np.diff(slope(0.3, 1.8, np.linspace(0.1, 5, 9))) > 0)
    assert np.all(np.diff(slope(0.3, 0.3, -np.linspace(0.1, 5, 9))) < 0)


def test_width_by_mass_alone_depends_on_moved_mass_alone():
    """M4: alpha 1, no gain, no limit."""
    free = partial(
        maspo,
        width=0.3,
        mass_power=1.0,
        widest=1e9,
        positive_gain=0.0,
    )
    ratio = np.array([1.4, 3.0, 1.25])
    found = slope([0.5, 0.1, 0.8], ratio, 1.0, free) / ratio
    np.testing.assert_allclose(found, 0.8007374, rtol=1e-5)


@pytest.mark.parametrize("advantage", [-1.0, 1.0])
def test_a_wide_gate_is_importance_sampling(advantage):
    """M5."""
    ratio = np.array([0.2, 1.0, 4.0])
    wide = partial(maspo, width=1e6, widest=1e6)
    np.testing.assert_allclose(slope(0.3, ratio, advantage, wide), ratio, rtol=1e-5)


@pytest.mark.parametrize("advantage", [-1.0, 1.0])
def test_gates_agree_near_one(advantage):
    """M6: sigma = sqrt(2) / tau, to second order, on the gated side."""
    tau = 1.3
    gaussian = partial(
        maspo,
        width=2**0.5 / tau,
        mass_power=0.0,
        positive_gain=0.0,
        negative_gain=0.0,
    )
    soft = partial(sapo, positive_temperature=tau, negative_temperature=tau)
    ratio = 1 + advantage * np.array([0.02, 0.05])
    found = 1 - slope(0.3, ratio, advantage, gaussian) / ratio
    np.testing.assert_allclose(
        found, 1 - slope(0.3, ratio, advantage, soft) / ratio, rtol=0.01
    )
    np.testing.assert_allclose(found, tau**2 * (ratio - 1) ** 2 / 4, rtol=0.01)


def test_gains_are_limited():
    old, mask = jnp.zeros((1, 2)), jnp.ones((1, 2), bool)
    found = maspo_width(old, jnp.array([[1e9, -1e9]]), mask)
    np.testing.assert_allclose(found, [[10.0, 0.1]], rtol=1e-6)
