"""Behaviour cloning against plain NumPy, and its identities."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from warmloop.agents import BC, SAC, BCConfig, SACConfig
from warmloop.agents.base import go_on
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Leaf, Spec, example

SPEC = Spec((Leaf("", (5,), "float32"),), 3)
CONFIG = BCConfig(hidden=(16, 16), batch_size=8)
AGENTS = {"gaussian": BC(CONFIG, SPEC), "deterministic": BC(dataclasses.replace(CONFIG, deterministic=True), SPEC)}
KEY = jax.random.key(3)


@pytest.fixture(scope="module", params=list(AGENTS))
def agent(request):
    return AGENTS[request.param]


@pytest.fixture(scope="module")
def state(agent, shaken):
    state = agent.init(jax.random.key(0), example(SPEC))
    return state.replace(actor=shaken(state.actor, 1))


def log_densities(actor, batch):
    """Of each dimension of the recorded actions `[B, A]`, and the deviations."""
    mean, log_std = np.split(oracle.layers(actor, batch.observation, "gaussian"), 2, axis=-1)
    deviation = np.exp(np.clip(log_std, -5, 2))
    standardised = (np.asarray(batch.action, np.float64) - np.tanh(mean)) / deviation
    return -0.5 * standardised**2 - np.log(deviation) - 0.5 * np.log(2 * np.pi), deviation


def distances(agent, actor, batch):
    """What one row contributes, `[B]`."""
    if agent.config.deterministic:
        return np.mean((oracle.deterministic(actor, batch.observation) - np.asarray(batch.action, np.float64)) ** 2, axis=-1)
    density, deviation = log_densities(actor, batch)
    return -(deviation ** (2 * agent.config.beta) * density).sum(axis=-1)


def act(agent, state, observation, key=KEY, deterministic=True):
    return agent.act(agent.actor_params(state), observation, key, (), deterministic)[0]


def test_loss_is_the_weighted_mean_of_the_negative_log_density_or_the_mean_squared_distance(agent, state, make_batch):
    batch = make_batch(8, offline=np.ones(8, bool))
    loss, _ = jax.jit(agent.actor_loss)((state.actor, ()), state.normaliser, batch, KEY)
    expected = np.mean(np.asarray(batch.actor_weight) * distances(agent, state.actor, batch))
    np.testing.assert_allclose(loss, expected, rtol=1e-3)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_beta_holds_back_the_gradients_and_has_none_itself(beta):
    agent = dataclasses.replace(AGENTS["gaussian"], config=dataclasses.replace(CONFIG, beta=beta))
    mean, log_std, action = np.random.default_rng(0).uniform(-1, 1, (3, 8, 3)).astype(np.float32)
    got = jax.grad(lambda output: agent.distance(output, jnp.asarray(action)).sum())((jnp.asarray(mean), jnp.asarray(log_std)))
    deviation, missed = np.exp(log_std), np.tanh(mean) - action
    np.testing.assert_allclose(got[0], deviation ** (2 * beta - 2) * missed * (1 - np.tanh(mean) ** 2), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(got[1], deviation ** (2 * beta) * (1 - (missed / deviation) ** 2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("beta", [-0.1, 1.5, float("nan")])
def test_beta_outside_its_range_is_a_sentence(beta):
    with pytest.raises(WarmloopError, match=r"agent\.beta is .*; it must lie in \[0, 1\]"):
        dataclasses.replace(CONFIG, beta=beta)


def test_the_policys_own_online_rows_are_not_cloned_and_interventions_are(agent, state, make_batch):
    intervened = np.array([0, 0, 0, 0, 0, 0, 0, 1], bool)  # the last of the four online rows
    batch = make_batch(8, intervened=intervened)
    loss, _ = jax.jit(agent.actor_loss)((state.actor, ()), state.normaliser, batch, KEY)
    each = np.asarray(batch.actor_weight) * distances(agent, state.actor, batch)
    np.testing.assert_allclose(loss, each[[0, 1, 2, 3, 7]].mean(), rtol=1e-3)
    own = batch.replace(offline=jnp.zeros(8, bool), intervened=jnp.zeros(8, bool))
    assert float(jax.jit(agent.actor_loss)((state.actor, ()), state.normaliser, own, KEY)[0]) == 0.0


def test_importance_weights_do_not_enter_and_every_rows_priority_stays_one(agent, state, make_batch):
    block = make_batch(1, 8)
    update = jax.jit(agent.update)
    new, _, td_error = update(state, block)
    other, _, _ = update(state, block.replace(weight=block.weight * 7))
    jax.tree.map(np.testing.assert_array_equal, new.actor, other.actor)
    np.testing.assert_array_equal(td_error, np.ones((1, 8)))


def test_recorded_actions_at_the_edge_have_a_finite_loss_and_gradient(make_batch):
    agent = AGENTS["gaussian"]
    batch = make_batch(8, action=np.sign(np.random.default_rng(0).normal(size=(8, 3))).astype(np.float32))
    state = agent.init(jax.random.key(0), example(SPEC))
    (loss, _), gradient = jax.value_and_grad(agent.actor_loss, has_aux=True)((state.actor, ()), state.normaliser, batch, KEY)
    assert np.isfinite(float(loss)) and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_the_policy_fits_one_batch(agent, make_batch):
    agent = dataclasses.replace(agent, config=dataclasses.replace(agent.config, hidden=(64, 64), actor_lr=3e-3, utd=50))
    block = make_batch(50, 8, offline=np.ones((50, 8), bool))
    block = jax.tree.map(lambda x: jnp.broadcast_to(x[:1], x.shape), block)
    state, update = agent.init(jax.random.key(0), example(SPEC)), jax.jit(agent.update)
    for _ in range(40):
        state, _, _ = update(state, block)
    action = jax.vmap(lambda observation: act(agent, state, observation))(block.observation[0])
    # A Gaussian may explain a row or two by a wide deviation for long.
    assert float(jnp.quantile(jnp.abs(action - block.action[0]), 0.75)) < 0.02


def test_rows_at_the_edge_of_the_action_range_do_not_drown_the_others(agent, make_batch):
    agent = dataclasses.replace(agent, config=dataclasses.replace(agent.config, hidden=(64, 64), actor_lr=3e-3, utd=50))
    block = make_batch(50, 64, offline=np.ones((50, 64), bool))
    observation = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)
    action = np.stack([np.sign(observation[:, 0]), np.clip(2 * observation[:, 1], -1, 1), 0.3 * np.tanh(observation[:, 2])], axis=1)
    block = block.replace(
        observation=jnp.broadcast_to(observation, (50, 64, 5)), action=jnp.broadcast_to(action.astype(np.float32), (50, 64, 3))
    )
    state, update = agent.init(jax.random.key(0), example(SPEC)), jax.jit(agent.update)
    for _ in range(8):
        state, _, _ = update(state, block)
    error = np.abs(jax.vmap(lambda row: act(agent, state, row))(observation) - action)
    assert error.mean() < 0.03


def test_the_density_is_that_of_the_actions_it_takes(agent, state, make_batch):
    batch = make_batch(4)
    got = agent.log_prob(agent.actor_params(state), batch.observation, batch.action)
    if agent.config.deterministic:
        standardised = (np.asarray(batch.action) - oracle.deterministic(state.actor, batch.observation)) / 0.1
        expected = (-0.5 * standardised**2 - np.log(0.1) - 0.5 * np.log(2 * np.pi)).sum(-1)
    else:
        expected = log_densities(state.actor, batch)[0].sum(axis=-1)
    np.testing.assert_allclose(got, expected, rtol=1e-3)


def test_sac_goes_on_with_the_policy_and_fresh_critics(agent, state):
    sac = SAC(SACConfig((16, 16), ensemble=2), SPEC)
    taken = go_on(sac, agent, state)
    observation = jnp.linspace(-1, 1, 5)
    np.testing.assert_allclose(act(sac, taken, observation), act(agent, state, observation), rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, taken.acting, taken.actor)
    jax.tree.map(np.testing.assert_array_equal, taken.critic, taken.target_critic)
    assert int(taken.critic_optimizer[0].count) == int(taken.actor_optimizer[0].count) == 0
    fresh = jax.eval_shape(sac.init, jax.random.key(0), jax.tree.map(jnp.asarray, example(SPEC)))
    assert jax.tree.map(lambda x: x.shape, taken) == jax.tree.map(lambda x: x.shape, fresh)


def test_cloning_cannot_go_on_from_another_algorithm(agent):
    sac = SAC(SACConfig((16, 16)), SPEC)
    with pytest.raises(WarmloopError, match="BC cannot go on from SAC's warm-up"):
        go_on(agent, sac, sac.init(KEY, example(SPEC)))
