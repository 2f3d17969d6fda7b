"""What is logged as a loss is what the gradient step minimises; its parts are logged beside it under their own names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.agents import CQL, SAC, TD3BC, CQLConfig, GraspSAC, GraspSACConfig, SACConfig, TD3BCConfig
from warmloop.data.transition import Leaf, Spec, example

SPEC = Spec((Leaf("", (5,), "float32"),), 3)
SMALL = {"hidden": (16, 16), "utd": 1, "batch_size": 8}
KEY = jax.random.key(7)


def fresh(agent):
    return agent.init(jax.random.key(0), example(SPEC))


@pytest.mark.parametrize("bc_weight", [0.0, 3.0])
def test_sacs_actor_loss_has_the_cloning_term_in_it_and_its_parts_beside_it(make_batch, bc_weight):
    agent = SAC(SACConfig(ensemble=2, bc_weight=bc_weight, **SMALL), SPEC)
    state, batch = fresh(agent), make_batch(8)
    loss, metrics = agent.actor_loss(state.actor, state, batch, KEY)
    assert float(metrics["actor/loss"]) == float(loss)
    assert ("actor/soft_loss" in metrics) == (bc_weight > 0)
    if bc_weight:
        scale = jnp.maximum(jnp.abs(metrics["actor/q_mean"]), 1e-2)  # of untrained critics, near 0
        np.testing.assert_allclose(loss, metrics["actor/soft_loss"] / scale + bc_weight * metrics["actor/cloning_loss"], rtol=1e-3)
    _, logged = agent.actor_step(state, batch, KEY)
    np.testing.assert_allclose(logged["actor/loss"], loss, rtol=1e-5)


def test_td3bcs_actor_loss_is_the_whole(make_batch):
    agent = TD3BC(TD3BCConfig(**SMALL), SPEC)
    state = fresh(agent)
    loss, metrics = agent.actor_loss(state.actor, state.critic, make_batch(8), KEY)
    assert float(metrics["loss"]) == float(loss) != float(metrics["cloning_loss"])


@pytest.mark.parametrize("lagrange", [False, True])
def test_cqls_critic_loss_is_td_loss_and_the_conservative_term(make_batch, lagrange):
    agent = CQL(CQLConfig(lagrange=lagrange, lagrange_gap=2.0, **SMALL), SPEC)
    _, metrics, _ = jax.jit(agent.update)(fresh(agent), make_batch(1, 8))
    aim = 2.0 if lagrange else 0.0
    parts = metrics["critic/td_loss"] + metrics["critic/cql_multiplier"] * (metrics["critic/cql_gap"] - aim)
    np.testing.assert_allclose(metrics["critic/loss"], parts, rtol=1e-5)
    squared = jax.jit(agent.update)(fresh(agent), make_batch(1, 8))[2]
    assert 0 < float(metrics["critic/td_loss"]) < 4 * float(jnp.square(squared).mean()) + 1


@pytest.mark.parametrize("bc_weight", [0.0, 3.0])
def test_the_grasp_critics_loss_has_its_margin_in_it(make_batch, bc_weight):
    agent = GraspSAC(GraspSACConfig(ensemble=2, bc_weight=bc_weight, **SMALL), SPEC)
    state, batch = fresh(agent), make_batch(8)
    seen = agent.sac.vision(state.sac.encoder, state.sac.normaliser, batch.observation)
    loss, (metrics, _) = agent.grasp_loss(state.grasp, seen, batch, jnp.ones(8), jnp.float32(bc_weight))
    assert float(metrics["grasp/loss"]) == float(loss)
    if bc_weight:
        np.testing.assert_allclose(loss, metrics["grasp/td_loss"] + bc_weight * metrics["grasp/cloning_loss"], rtol=1e-5)


@pytest.mark.parametrize("bc_weight", [0.0, 3.0])
def test_sacs_actor_loss_is_the_sum_of_its_terms(make_batch, bc_weight):
    agent = SAC(SACConfig(ensemble=2, bc_weight=bc_weight, initial_temperature=0.5, **SMALL), SPEC)
    state, batch = fresh(agent), make_batch(8)
    terms, _ = agent.actor_terms(state.actor, state, batch, KEY)
    assert set(terms) == {"value", "entropy"} | ({"cloning"} if bc_weight else set()) and all(map(float, terms.values()))
    np.testing.assert_allclose(agent.actor_loss(state.actor, state, batch, KEY)[0], sum(terms.values()), rtol=1e-6)
