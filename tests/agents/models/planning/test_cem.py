"""Planning finds what can be computed, and what is not a number never wins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.agents.models.planning.cem import Plan, PlanSettings, begun, colouring, moved_on, search
from warmloop.data.errors import WarmloopError

KEY = jax.random.key(0)
A, B = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.0], [0.1]])
Q, R, HORIZON = np.diag([1.0, 0.1]), 0.5, 20


def first_action_of_lqr(state):
    """By Riccati's recursion over the horizon; the last state costs, too."""
    value, gain = Q, np.zeros((1, 2))
    for _ in range(HORIZON):
        gain = np.linalg.solve(R + B.T @ value @ B, B.T @ value @ A)
        value = Q + A.T @ value @ (A - B @ gain)
    return float((-gain @ state)[0])


def value_of(state):
    def value(actions, key):
        def step(carry, action):
            state, total = carry
            total = total - jnp.einsum("ni,ij,nj->n", state, Q, state) - R * jnp.square(action).sum(axis=-1)
            return (state @ A.T + action @ B.T, total), None

        begin = jnp.broadcast_to(jnp.asarray(state), (actions.shape[0], 2)), jnp.zeros(actions.shape[0])
        (last, total), _ = jax.lax.scan(step, begin, jnp.swapaxes(actions, 0, 1))
        return total - jnp.einsum("ni,ij,nj->n", last, Q, last)

    return value


def plan_of(state, **options):
    """The plan that many iterations find, and its value."""
    config = PlanSettings(plan_horizon=HORIZON, plan_samples=1_000, plan_elites=60, plan_iterations=60, **options)
    mean, _ = jax.jit(lambda key: search(value_of(state), jnp.zeros((HORIZON, 1)), key, config))(KEY)
    return mean, float(value_of(state)(mean[None], KEY)[0])


def test_in_a_perfect_linear_model_the_first_action_is_lqrs_within_two_per_cent():
    state = np.array([0.3, 0.1])
    wanted = first_action_of_lqr(state)
    assert 0.3 < abs(wanted) < 0.9, "within the range of actions, where the recursion holds"
    mean, value = plan_of(state)
    np.testing.assert_allclose(mean[0, 0], wanted, rtol=0.02)
    _, smooth = plan_of(state, plan_colour=1.0, plan_kept=0.3)
    np.testing.assert_allclose(smooth, value, rtol=0.05)


def test_sequences_that_are_not_finite_lose_against_the_worst_and_alone_change_nothing():
    config = PlanSettings(plan_horizon=3, plan_samples=200, plan_elites=20, plan_iterations=5)

    def negative_or_nan(actions, key):
        score = -1e6 - jnp.square(actions + 0.5).sum(axis=(1, 2))
        return jnp.where(actions[:, 0, 0] > 0, jnp.nan, score)

    mean, _ = search(negative_or_nan, jnp.zeros((3, 1)), KEY, config)
    assert float(mean[0, 0]) < -0.3 and np.isfinite(mean).all()
    begin = jnp.full((3, 1), 0.25)
    mean, variance = search(lambda actions, key: jnp.full(actions.shape[0], jnp.nan), begin, KEY, config)
    np.testing.assert_allclose(mean, begin, rtol=1e-6)
    np.testing.assert_allclose(variance, 0.25, rtol=1e-6)


def test_samples_stay_in_the_range_of_actions():
    seen = []
    config = PlanSettings(plan_horizon=4, plan_samples=50, plan_elites=5, plan_iterations=1, plan_colour=2.0)

    def value(actions, key):
        jax.debug.callback(lambda actions: seen.append(np.array(actions)), actions)
        return actions.sum(axis=(1, 2))

    jax.block_until_ready(search(value, jnp.full((4, 2), 0.9), KEY, config))
    jax.effects_barrier()
    assert np.abs(seen[0]).max() <= 1 + 1e-6 and np.ptp(seen[0]) > 0.1


@pytest.mark.parametrize("exponent", [0.0, 2.5])
def test_coloured_noise_has_its_spectrum_and_variance_one(exponent):
    matrix = colouring(32, exponent).astype(np.float64)
    covariance = matrix @ matrix.T
    np.testing.assert_allclose(np.diag(covariance), 1.0, rtol=1e-5)
    power = np.abs(np.fft.fft(covariance[0]))
    np.testing.assert_allclose(power[2] / power[8], 4.0**exponent, rtol=1e-4)


def test_a_plan_moves_on_by_the_action_that_was_done_and_ends_in_zero():
    plan = moved_on(jnp.arange(6.0).reshape(3, 2))
    np.testing.assert_array_equal(plan.mean, [[2, 3], [4, 5], [0, 0]])
    np.testing.assert_array_equal(begun(plan, 3, 2), plan.mean)
    np.testing.assert_array_equal(begun((), 3, 2), np.zeros((3, 2)))
    assert isinstance(plan, Plan)


def test_more_elites_than_samples_are_refused():
    with pytest.raises(WarmloopError, match=r"at most agent.plan_samples \(10\)"):
        PlanSettings(plan_samples=10, plan_elites=11)
