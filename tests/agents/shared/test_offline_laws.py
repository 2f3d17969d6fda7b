"""What holds for each of IQL, AWAC and BCQ, beside the laws of every algorithm (test_registry.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from warmloop.agents import AWAC, BCQ, IQL, AWACConfig, BCQConfig, HasLikelihood, IQLConfig
from warmloop.data.transition import Leaf, Spec, example

SPEC = Spec((Leaf("", (5,), "float32"),), 3)
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


def test_policies_with_a_density_say_so(agent, state, make_batch):
    assert isinstance(agent, HasLikelihood) == (agent.name != "bcq")
    if isinstance(agent, HasLikelihood):
        actor, batch = agent.actor_params(state), make_batch(8)
        mean, log_std = agent.regression.policy.apply(state.actor, batch.observation)
        normal = -0.5 * jnp.square((batch.action - mean) / jnp.exp(log_std)) - log_std - 0.5 * jnp.log(2 * jnp.pi)
        np.testing.assert_allclose(agent.log_prob(actor, batch.observation, batch.action), normal.sum(-1), rtol=1e-4)
