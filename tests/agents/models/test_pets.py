"""PETS plans by its model: values are the particles' sums, acting goes on from the last plan, and Pendulum is learnt in a few episodes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blocks import KEY, SPEC, block_of, rows_of

from warmloop.actor.policies.policy import AgentPolicy
from warmloop.agents import PETS, PETSConfig
from warmloop.agents.base import Problem
from warmloop.agents.export import Exported, write
from warmloop.agents.models.planning.cem import Plan
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Leaf, Spec, example

PLAN = {"plan_horizon": 4, "plan_samples": 20, "plan_elites": 4, "plan_iterations": 2}
CONFIG = PETSConfig(hidden=(8, 8), utd=2, batch_size=8, model_members=3, model_elites=2, plan_particles=3, **PLAN)


@pytest.fixture(scope="module")
def agent():
    return PETS(CONFIG, SPEC)


@pytest.fixture(scope="module")
def state(agent):
    return jax.jit(agent.update)(agent.init(KEY, rows_of(40)), block_of(2, 8))[0]


def without_noise(actor):
    layers = actor.elites["params"]
    quiet = {name: jnp.full_like(layers[name], -40.0) for name in ("ceiling", "floor")}
    return actor.replace(elites={"params": layers | quiet})


@pytest.mark.long
def test_a_sequences_value_is_the_mean_over_members_of_the_sums_of_their_rewards(agent, state):
    actor = without_noise(agent.actor_params(state))
    start, actions = jnp.ones(5), jnp.tanh(jax.random.normal(KEY, (6, 4, 3)))
    found = agent.value(actor, start, actions, KEY)
    wanted = np.zeros(6)
    for member in range(2):
        one = jax.tree.map(lambda leaf, member=member: leaf[member : member + 1], actor.elites)
        seen, going = jnp.broadcast_to(start, (6, 5)), np.ones(6)
        for step in range(4):
            said = agent.dynamics.predict(one, actor.scales, seen, actions[:, step])
            wanted += going * np.asarray(said.reward[0]) / 2
            seen, going = said.state[0], going * np.asarray(said.ends[0] <= 0.5)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


def test_behind_a_predicted_end_nothing_is_earned(agent, state):
    actor = without_noise(agent.actor_params(state))
    last = f"bias_{len(CONFIG.hidden)}"
    over = actor.elites["params"] | {last: actor.elites["params"][last].at[:, -2].set(50.0)}
    actions = jnp.tanh(jax.random.normal(KEY, (6, 4, 3)))
    found = agent.value(actor.replace(elites={"params": over}), jnp.ones(5), actions, KEY)
    first = agent.dynamics.predict({"params": over}, actor.scales, jnp.ones((6, 5)), actions[:, 0]).reward.mean(axis=0)
    np.testing.assert_allclose(found, first, rtol=1e-3, atol=1e-4)


def test_acting_goes_on_from_the_last_plan_and_a_reset_or_a_takeover_drops_it(agent, state):
    actor, seen = agent.actor_params(state), jax.tree.map(lambda leaf: leaf[0], rows_of(1).observation)
    _, plan = agent.act(actor, seen, KEY, ())
    assert isinstance(plan, Plan) and plan.mean.shape == (4, 3)
    one, other = (agent.act(actor, seen, KEY, carry)[0] for carry in (plan, Plan(jnp.zeros((4, 3)))))
    assert not np.allclose(one, other), "where it begins matters"
    policy = AgentPolicy(agent, actor, deterministic=True)
    policy.begin(0)
    first, second = policy(seen, 0), policy(seen, 1)
    policy.drop_plan(first)
    np.testing.assert_array_equal(policy(seen, 1), first)
    assert not np.array_equal(first, second)


def test_a_model_that_is_not_finite_acts_by_finite_actions(agent, state):
    actor = agent.actor_params(state)
    broken = actor.replace(elites=jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), actor.elites))
    action, plan = agent.act(broken, jax.tree.map(lambda leaf: leaf[0], rows_of(1).observation), KEY, ())
    assert np.isfinite(action).all() and np.isfinite(plan.mean).all()


def test_an_export_is_refused_in_one_sentence(agent, state, tmp_path):
    with pytest.raises(WarmloopError, match="pets searches for a plan at every step"):
        write(tmp_path, Exported(agent, agent.actor_params(state), {}))
    assert not list(tmp_path.iterdir())


def test_pictures_are_refused_by_name():
    spec = Spec((Leaf("front", (8, 8, 3), "uint8"), Leaf("pose", (3,), "float32")), 3)
    with pytest.raises(WarmloopError, match=r'"pets" learns a model of states, .* \(front\)'):
        PETS(CONFIG, spec).init(KEY, example(spec))


def test_what_acts_are_the_elites_and_no_optimizer(agent, state):
    sent = sum(leaf.size for leaf in jax.tree.leaves(agent.actor_params(state)))
    one = sum(leaf[0].size for leaf in jax.tree.leaves(state.ensemble.params))
    units = sum(leaf.size for leaf in jax.tree.leaves((state.ensemble.scales, state.normaliser)))
    assert sent == CONFIG.model_elites * one + units
    assert dataclasses.replace(agent, problem=Problem(0.5)) != agent
