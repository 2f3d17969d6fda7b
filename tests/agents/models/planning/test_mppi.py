"""The planner finds what a linear system's optimal control finds; what is not finite has no weight; the policy alone is the policy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.agents.models.planning.mppi import MPPISettings, draws, elite_weights, sampled_action, shifted
from warmloop.agents.models.planning.mppi import plan as plan_of
from warmloop.data.errors import WarmloopError

KEY = jax.random.key(4)
plan = jax.jit(plan_of, static_argnums=(0, 4))
# A damped mass that is pushed: position and speed, by steps of 0.1 s.
A, B = np.array([[1.0, 0.1], [0.0, 0.95]], np.float32), np.array([[0.0], [0.1]], np.float32)
Q, R = np.diag([1.0, 0.1]).astype(np.float32), np.array([[0.1]], np.float32)


def riccati(horizon):
    """The first gain of the finite-horizon LQR, with Q as the cost of the last state."""
    p, gain = Q, np.zeros((1, 2))
    for _ in range(horizon):
        gain = np.linalg.solve(R + B.T @ p @ B, B.T @ p @ A)
        p = Q + A.T @ p @ (A - B @ gain)
    return gain


def test_on_a_linear_system_it_finds_the_first_action_of_optimal_control():
    horizon, start = 4, jnp.array([1.0, -0.5])
    config = MPPISettings(
        horizon=horizon, iterations=10, population=512, proposals=0, elites=64, plan_std_min=1e-3, plan_std_max=1.0, plan_temperature=50.0
    )

    def value(actions):
        def cost(sequence):
            x, total = start, 0.0
            for action in sequence:
                total += x @ Q @ x + action @ R @ action
                x = A @ x + B @ action
            return total + x @ Q @ x

        return -jax.vmap(cost)(actions)

    found = plan(value, jnp.zeros((0, horizon, 1)), jnp.zeros((horizon, 1)), draws(KEY, config, 1), config)
    expected = -(riccati(horizon) @ np.asarray(start))
    assert abs(expected[0]) < 1, "within the range of actions"
    np.testing.assert_allclose(found.mean[0], expected, rtol=0.02)


def test_a_sequence_whose_value_is_not_finite_has_no_weight():
    weight = elite_weights(jnp.array([-5.0, jnp.nan, -4.0, jnp.inf, -jnp.inf]), 4, 1.0)
    np.testing.assert_allclose(weight, np.array([np.exp(-1), 0, 1, 0, 0]) / (1 + np.exp(-1)), rtol=1e-5)
    np.testing.assert_allclose(elite_weights(jnp.full(4, jnp.nan), 2, 1.0), 0.25)


def test_only_the_elites_weigh_and_by_their_value():
    weight = elite_weights(jnp.array([1.0, 3.0, 2.0, 0.0]), 2, 0.5)
    np.testing.assert_allclose(weight, np.array([0, 1, np.exp(-0.5), 0]) / (1 + np.exp(-0.5)), rtol=1e-5)


def test_with_the_policys_proposals_alone_it_is_the_policy():
    config = MPPISettings(horizon=3, iterations=2, population=1, proposals=1, elites=1, plan_std_min=1e-9, plan_std_max=1.0)
    proposal = jax.random.uniform(KEY, (1, 3, 2), minval=-1.0, maxval=1.0)
    found = plan(lambda actions: actions[:, 0, 0], proposal, jnp.zeros((3, 2)), draws(KEY, config, 2), config)
    np.testing.assert_allclose(found.mean, proposal[0], rtol=1e-6)
    np.testing.assert_allclose(sampled_action(found, KEY), proposal[0, 0], rtol=1e-6)


def test_where_the_proposals_are_better_than_all_else_the_plan_is_of_them():
    config = MPPISettings(horizon=2, iterations=3, population=64, proposals=8, elites=8, plan_temperature=10.0)
    proposals = jnp.tile(jnp.array([0.3, -0.2]).reshape(1, 1, 2), (8, 2, 1))
    off = jnp.array([0.3, -0.2]).reshape(1, 1, 2)
    found = plan(lambda a: -100 * jnp.abs(a - off).sum((1, 2)), proposals, jnp.zeros((2, 2)), draws(KEY, config, 2), config)
    np.testing.assert_allclose(found.mean, off[0] + jnp.zeros((2, 2)), atol=0.02)


def test_deviations_stay_within_their_bounds_and_actions_within_theirs():
    config = MPPISettings(horizon=2, iterations=8, population=32, proposals=0, elites=4, plan_std_min=0.1, plan_std_max=0.5)
    found = plan(lambda a: a.sum((1, 2)), jnp.zeros((0, 2, 3)), jnp.zeros((2, 3)), draws(KEY, config, 3), config)
    assert float(found.std.min()) >= 0.0999 and float(found.std.max()) <= 0.5
    assert float(jnp.abs(found.actions).max()) <= 1.0
    assert float(found.mean.min()) > 0.3, "it goes where value rises"
    assert float(found.weight.sum()) == pytest.approx(1.0, abs=1e-5)


def test_a_plan_one_step_later_ends_with_nothing():
    np.testing.assert_array_equal(shifted(jnp.array([[1.0], [2.0], [3.0]])), [[2.0], [3.0], [0.0]])


@pytest.mark.parametrize(
    ("wrong", "says"), [({"elites": 600}, "population"), ({"proposals": 600}, "population"), ({"plan_std_min": 3.0}, "at most")]
)
def test_settings_that_do_not_go_together_are_refused(wrong, says):
    with pytest.raises(WarmloopError, match=says):
        MPPISettings(**wrong)


def test_actions_of_many_dimensions_take_two_rounds_more():
    assert (MPPISettings().rounds(19), MPPISettings().rounds(20)) == (6, 8)
