"""What holds for each of IQL, AWAC and BCQ."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from warmloop.agents import AWAC, BCQ, IQL, AWACConfig, BCQConfig, HasCritics, HasLikelihood, IQLConfig
from warmloop.data.transition import Leaf, Spec, example

SPEC = Spec((Leaf("", (5,), "float32"),), 3)
DICT = Spec((Leaf("hand", (2,), "float32"), Leaf("object", (3,), "float32")), 3)
SMALL = {"hidden": (16, 16), "utd": 3, "batch_size": 8}
AGENTS = {
    "iql": IQL(IQLConfig(**SMALL), SPEC),
    "awac": AWAC(AWACConfig(**SMALL), SPEC),
    "bcq": BCQ(BCQConfig(vae_hidden=(16, 16), **SMALL), SPEC),
}
# Which networks learn from which of the weights.
VALUES = {"iql": ("critic", "value"), "awac": ("critic",), "bcq": ("critic",)}
POLICIES = {"iql": ("actor",), "awac": ("actor",), "bcq": ("vae", "perturbation")}
KEY = jax.random.key(3)


@pytest.fixture(scope="module", params=AGENTS)
def agent(request):
    return AGENTS[request.param]


@pytest.fixture(scope="module")
def update(agent):
    return jax.jit(agent.update)


@pytest.fixture(scope="module")
def state(agent):
    return jax.jit(agent.init)(jax.random.key(0), example(SPEC))


def moved(before, after, field):
    return float(optax.tree.norm(optax.tree.sub(getattr(after, field), getattr(before, field)))) > 0


def is_adam(x):
    return isinstance(x, optax.ScaleByAdamState)


def test_a_block_is_k_whole_updates(agent, state, update, make_batch):
    new, metrics, td_error = update(state, make_batch(3, 8))
    counts = [int(x.count) for x in jax.tree.leaves(new, is_leaf=is_adam) if is_adam(x)]
    assert counts == [3] * len(counts) and len(counts) >= 2 and int(new.updates) == 3
    assert td_error.shape == (3, 8) and all(np.isfinite(metric) and metric.shape == () for metric in metrics.values())
    assert jax.tree.structure(new) == jax.tree.structure(state)


@pytest.mark.parametrize("weight", ["weight", "actor_weight"])
def test_rows_without_weight_teach_nothing(agent, state, update, make_batch, weight):
    new, _, _ = update(state, make_batch(3, 8, **{weight: np.zeros((3, 8), np.float32)}))
    values, policies = VALUES[agent.name], POLICIES[agent.name]
    still, taught = (values, policies) if weight == "weight" else (policies, values)
    assert [moved(state, new, field) for field in still] == [False] * len(still)
    assert [moved(state, new, field) for field in taught] == [True] * len(taught)


def test_observations_in_a_dict_are_learnt_from_as_flat_ones_in_name_order(agent, state, update, make_batch):
    of_dict, flat = dataclasses.replace(agent, spec=DICT), make_batch(3, 8)

    def split(x):
        return {"object": x[..., 2:], "hand": x[..., :2]}

    batch = flat.replace(observation=split(flat.observation), next_observation=split(flat.next_observation))
    new, _, _ = update(state, flat)
    other, _, _ = jax.jit(of_dict.update)(state, batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), new.critic, other.critic)
    acted = [
        x.act(x.actor_params(s), o, KEY, ())[0]
        for x, s, o in ((agent, new, flat.observation[0, 0]), (of_dict, other, split(flat.observation[0, 0])))
    ]
    np.testing.assert_allclose(*acted, rtol=1e-3, atol=1e-4)
    assert acted[0].shape == (3,) and np.abs(acted[0]).max() <= 1


def test_acting_uses_the_statistics_of_the_warm_up_data(agent):
    rows = example(SPEC, 100).replace(observation=np.random.default_rng(0).normal(3, 2, (100, 5)).astype(np.float32))
    state = jax.jit(agent.init)(jax.random.key(0), rows)
    np.testing.assert_allclose(state.normaliser(rows.observation).mean(0), 0, atol=1e-4)
    shifted = state.replace(normaliser=state.normaliser.replace(mean=state.normaliser.mean - 3))
    row, act = rows.observation[0], jax.jit(lambda state, row: agent.act(agent.actor_params(state), row, KEY, (), True)[0])
    np.testing.assert_allclose(act(state, row), act(shifted, row - 3), rtol=1e-3, atol=1e-5)
    assert not np.allclose(act(state, row), act(shifted, row), atol=1e-6)


def test_no_critic_and_no_optimizer_goes_over_the_wire_but_what_acting_asks(agent, state):
    sent = sum(x.size for x in jax.tree.leaves(agent.actor_params(state)))
    needed = (
        (state.actor,) if agent.name != "bcq" else (state.vae["decoder"], state.perturbation, jax.tree.map(lambda x: x[0], state.critic))
    )
    assert sent == sum(x.size for x in jax.tree.leaves((needed, state.normaliser)))


def test_the_td_error_that_is_measured_is_the_one_that_is_trained_on(agent, state, make_batch):
    terminal = make_batch(8, mask=np.zeros(8, np.float32))
    scaled = state.replace(reward_scale=jnp.float32(0.5))
    q = agent.q_values(scaled, terminal.observation, terminal.action)  # [E, B], in the rewards' own units
    np.testing.assert_allclose(q, 2 * agent.q_values(state, terminal.observation, terminal.action), rtol=1e-5)
    error = np.abs(np.asarray(q) - np.asarray(terminal.reward)).mean(0)
    np.testing.assert_allclose(agent.td_error(scaled, terminal, KEY), error, rtol=1e-4, atol=1e-5)
    assert isinstance(agent, HasCritics)


def test_policies_with_a_density_say_so(agent, state, make_batch):
    assert isinstance(agent, HasLikelihood) == (agent.name != "bcq")
    if isinstance(agent, HasLikelihood):
        actor, batch = agent.actor_params(state), make_batch(8)
        mean, log_std = agent.policy.apply(state.actor, batch.observation)
        normal = -0.5 * jnp.square((batch.action - mean) / jnp.exp(log_std)) - log_std - 0.5 * jnp.log(2 * jnp.pi)
        np.testing.assert_allclose(agent.log_prob(actor, batch.observation, batch.action), normal.sum(-1), rtol=1e-4)


def test_an_agent_is_hashable_and_equal_to_one_of_the_same_settings(agent):
    assert hash(agent) == hash(dataclasses.replace(agent)) and agent == dataclasses.replace(agent)
    assert agent != dataclasses.replace(agent, config=dataclasses.replace(agent.config, tau=0.1))
