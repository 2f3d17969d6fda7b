"""Flows keep two ways apart; chunked critics have the analytic values; the best of N is the best; acting goes by the plan."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.agents import BC, QC, QCFQL, BCConfig, FlowBC, FlowBCConfig, QCConfig, QCFQLConfig
from warmloop.agents.base import Problem, window_of
from warmloop.agents.shared.action_chunks import Planned, act_by_plan, flat
from warmloop.agents.shared.flows import Flow
from warmloop.data.errors import WarmloopError
from warmloop.data.mixing import MixingConfig, StretchBatch
from warmloop.data.replay import ReplayConfig
from warmloop.data.replay.windows import Window
from warmloop.data.transition import Leaf, Spec, example
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import run_many

KEY = jax.random.key(3)
ONE = Spec((Leaf("", (1,), "float32"),), 1)
SMALL = {"hidden": (32, 32), "batch_size": 64, "actor_lr": 3e-3}


def learnt(agent, rows, updates):
    """The agent's state after so many updates on recorded rows, drawn uniformly."""
    parts = LearnerParts(agent, ReplayConfig(capacity=1, alpha=0.0), MixingConfig())
    state, _ = run_many(create(parts, 0, rows), parts, updates)
    return state.agent


def two_ways(count=400):
    """Steps of which half go left and half go right, whatever is seen."""
    rng = np.random.default_rng(0)
    seen = rng.uniform(-1, 1, (count, 1)).astype(np.float32)
    side = rng.choice([-0.6, 0.6], (count, 1))
    return example(ONE, count).replace(
        observation=seen, next_observation=seen, action=side.astype(np.float32), step=np.arange(count, dtype=np.int32)
    )


@pytest.mark.long
def test_a_flow_keeps_two_ways_apart_and_a_gaussians_mean_lies_between_them():
    rows = two_ways()
    agent = FlowBC(FlowBCConfig(**SMALL, horizon=1, utd=1), ONE)
    actor, act = agent.actor_params(learnt(agent, rows, 1500)), jax.jit(agent.act)
    actions = np.array([act(actor, jnp.zeros(1), key, ())[0] for key in jax.random.split(KEY, 100)])
    assert (np.abs(np.abs(actions) - 0.6) < 0.2).mean() > 0.8, "nearly each action is one of the two"
    assert 0.25 < (actions > 0).mean() < 0.75, "and both are taken"
    gaussian = BC(BCConfig(**SMALL), ONE)
    mean = gaussian.act(gaussian.actor_params(learnt(gaussian, rows, 600)), jnp.zeros(1), KEY, (), True)[0]
    assert abs(float(mean[0])) < 0.3


class StraightFlow(Flow):
    """The field of flow matching from N(0, 1) to N(0.1, 0.2²), E[a − z | x_τ = x], is known; its flow is z ↦ 0.1 + 0.2 z."""

    def velocity(self, params, seen, x, time, dropout=None):
        spread = (1 - time) ** 2 + (0.2 * time) ** 2
        return 0.1 + (0.04 * time - (1 - time)) / spread * (x - 0.1 * time)


def test_of_more_and_more_steps_the_flow_of_a_known_field_comes_to_what_its_equation_says():
    noise = jnp.linspace(-2.0, 2.0, 9)[:, None]
    errors = []
    for steps in (10, 100, 1_000):
        flow = StraightFlow(FlowBCConfig(**SMALL, horizon=1, flow_steps=steps), 1)
        errors.append(float(jnp.abs(flow.sample({}, jnp.zeros((9, 1)), noise) - (0.1 + 0.2 * noise)).max()))
    assert errors[0] > 0.01 and errors[2] < 2e-3
    assert 5 < errors[0] / errors[1] < 20 and 5 < errors[1] / errors[2] < 20, "an Euler step's error is in proportion to its length"


LENGTH, DISCOUNT = 7, 0.8


def chain():
    """Walks along a chain of 7 places to a reward of 1; actions do not matter, and are a different one at each place."""
    place = np.tile(np.arange(LENGTH, dtype=np.float32), 30)[:, None] / LENGTH
    count = len(place)
    mask = np.where(np.arange(count) % LENGTH == LENGTH - 1, 0, 1).astype(np.float32)
    return example(ONE, count).replace(
        observation=place,
        next_observation=place + np.float32(1 / LENGTH),
        action=np.sin(9 * place),
        reward=1 - mask,
        mask=mask,
        step=np.tile(np.arange(LENGTH, dtype=np.int32), 30),
        episode=np.repeat(np.arange(30, dtype=np.int32), LENGTH),
    )


@pytest.mark.long
@pytest.mark.parametrize(("horizon", "partial"), [(1, False), pytest.param(3, False, marks=pytest.mark.long), (3, True)])
def test_the_values_of_chunks_on_a_chain_are_the_analytic_ones(horizon, partial):
    config = QCConfig(
        **SMALL | {"critic_lr": 3e-3}, horizon=horizon, samples=2, utd=4, tau=0.1, partial_chunks=partial, critic_layer_norm=False
    )
    agent = QC(config, ONE, Problem(DISCOUNT))
    rows = chain()
    state = learnt(agent, rows, 400)
    whole = LENGTH - horizon  # the last place from which a whole chunk was seen; values before come from there
    for place in range(LENGTH) if partial else range(whole, -1, -horizon):
        done = np.minimum(np.arange(place, place + horizon), LENGTH - 1)
        q = agent.critics(state.critic, state.normaliser(rows.observation[place][None]), rows.action[done].reshape(1, -1))
        np.testing.assert_allclose(q[:, 0], DISCOUNT ** (LENGTH - 1 - place), atol=0.06)


def batch_of(agent, count=6):
    rng = np.random.default_rng(1)
    rows, one, h = example(ONE, count), jnp.ones(count), agent.config.horizon
    fields = {name: getattr(rows, name) for name in rows.__dataclass_fields__} | {
        "observation": rng.normal(size=(count, 1)).astype(np.float32),
        "next_observation": rng.normal(size=(count, 1)).astype(np.float32),
        "action": jnp.asarray(rng.uniform(-1, 1, (count, h, 1)), jnp.float32),
        "reward": jnp.asarray(rng.normal(size=count), jnp.float32),
        "mask": jnp.array([1, 1, 0, 1, 1, 0], jnp.float32),
    }
    valid = jnp.arange(h)[None] < jnp.array([h, h, h, 1, 1, 1])[:, None]
    return StretchBatch(**fields, weight=one, actor_weight=2 * one, offline=one.astype(bool), valid=valid)


def applied(module: Any) -> Callable[..., Any]:
    return module.apply


@pytest.mark.parametrize("aggregate", ["mean", "min"])
def test_the_best_of_n_is_the_flows_sample_with_the_highest_value(aggregate):
    agent = QC(QCConfig(**SMALL, horizon=2, samples=5, q_agg=aggregate), ONE)
    state = agent.init(KEY, example(ONE))
    seen = jnp.array([[0.3], [-0.4]])
    best = agent.best(state.flow, state.critic, seen, KEY)
    noise = jax.random.normal(KEY, (2, 5, 2))
    for row in range(2):
        chunks = jnp.stack([agent.flow.sample(state.flow, seen[row], noise[row, n]) for n in range(5)])
        q = np.stack([agent.critics(state.critic, seen[row][None], chunk[None])[:, 0] for chunk in chunks])  # [N, E]
        np.testing.assert_allclose(best[row], chunks[(q.mean(1) if aggregate == "mean" else q.min(1)).argmax()], rtol=1e-5)


def test_with_one_action_it_is_fqls_losses():
    """Against FQL's equations (Park et al. 2025), written out with loops."""
    agent = QCFQL(QCFQLConfig(**SMALL, horizon=1, distillation_weight=3.0, flow_steps=4), ONE, Problem(0.9))
    state, batch = agent.init(KEY, example(ONE)), batch_of(agent)
    qc, module, policy = state.qc, *map(applied, (agent.qc.flow.module, agent.policy))

    critics = agent.qc.critics

    noise = jax.random.normal(KEY, (6, 1))
    following = jnp.clip(policy(state.actor, jnp.concatenate([batch.next_observation, noise], 1)), -1, 1)
    expected = batch.reward + 0.9 * batch.mask * critics(qc.target_critic, batch.next_observation, following).mean(0)
    np.testing.assert_allclose(agent.td_target(state, batch, KEY), expected, rtol=1e-5)

    noise_key, _ = jax.random.split(KEY)
    noise = jax.random.normal(noise_key, (6, 1))
    x = noise
    for i in range(4):
        x = x + module(qc.flow, jnp.concatenate([batch.observation, x, jnp.full((6, 1), i / 4)], 1)) / 4
    one = policy(state.actor, jnp.concatenate([batch.observation, noise], 1))
    q = critics(qc.critic, batch.observation, jnp.clip(one, -1, 1)).mean(0)
    expected = 3.0 * 2 * jnp.square(one - jnp.clip(x, -1, 1)).mean() - 2 * q.mean()
    np.testing.assert_allclose(agent.actor_loss(state.actor, qc, batch, KEY)[0], expected, rtol=1e-4)


def test_the_flows_loss_is_over_the_actions_that_are_there():
    agent = QC(QCConfig(**SMALL, horizon=3), ONE)
    state, batch = agent.init(KEY, example(ONE)), batch_of(agent)
    distance = np.asarray(agent.flow.distance(state.flow, jnp.asarray(batch.observation), flat(batch.action), KEY))
    each = [np.where(there, row, 0).mean() for row, there in zip(distance, np.asarray(batch.valid), strict=True)]
    np.testing.assert_allclose(agent.flow_loss(state.flow, state, batch, KEY)[0], 2 * np.mean(each), rtol=1e-5)


@pytest.mark.parametrize(("partial", "learns"), [(False, [1, 1, 1, 0, 0, 0]), (True, [1, 1, 1, 0, 0, 1])])
def test_chunks_that_are_cut_short_move_no_critic_unless_the_episode_was_over(partial, learns):
    agent = QC(QCConfig(**SMALL, horizon=3, partial_chunks=partial), ONE)
    state, batch = agent.init(KEY, example(ONE)), batch_of(agent)
    target = jnp.ones(6)
    for row, counts in enumerate(learns):
        alone = batch.replace(weight=jnp.zeros(6).at[row].set(1.0))
        new, _ = agent.critic_step(state, alone, target, KEY)
        moved = any(float(jnp.abs(a - b).max()) > 0 for a, b in zip(*map(jax.tree.leaves, (new.critic, state.critic)), strict=True))
        assert moved == bool(counts), row


def test_gradients_of_the_critics_move_the_one_step_policy_and_not_the_flow():
    agent = QCFQL(QCFQLConfig(**SMALL, horizon=2, distillation_weight=0.0), ONE)
    state, batch = agent.init(KEY, example(ONE)), batch_of(agent)
    of_flow = jax.grad(lambda flow: agent.actor_loss(state.actor, state.qc.replace(flow=flow), batch, KEY)[0])(state.qc.flow)
    of_actor = jax.grad(lambda actor: agent.actor_loss(actor, state.qc, batch, KEY)[0])(state.actor)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(of_flow))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(of_actor))


@pytest.mark.parametrize(("execute", "planned_at"), [(0, [0, 3, 6]), (1, [0, 1, 2, 3, 4, 5, 6]), (2, [0, 2, 4, 6])])
def test_a_plan_is_done_as_far_as_the_settings_say_and_then_made_anew(execute, planned_at):
    config = FlowBCConfig(**SMALL, horizon=3, execute=execute)
    carry, actions = (), []
    for step in range(7):
        action, carry = act_by_plan(lambda at=step: jnp.array([[10.0 * at], [10 * at + 1], [10 * at + 2]]), carry, config.executed)
        actions.append(int(action[0]))
    began = [max(at for at in planned_at if at <= step) for step in range(7)]
    assert actions == [10 * at + step - at for step, at in enumerate(began)]
    assert isinstance(carry, Planned)


@pytest.mark.parametrize(
    ("wrong", "says"), [({"execute": 4}, r"at most agent.horizon \(3\)"), ({"actor_network": "flax.linen:Dense"}, "leave it out")]
)
def test_settings_that_would_change_nothing_are_refused(wrong, says):
    with pytest.raises(WarmloopError, match=says):
        QCFQLConfig(horizon=3, **wrong)


def test_what_they_learn_from_is_chunks_of_the_problems_discount():
    agent = QCFQL(QCFQLConfig(horizon=4), ONE, Problem(0.7))
    assert window_of(agent) == Window(4, "chunk", 0.7) == window_of(agent.qc)
    assert window_of(dataclasses.replace(agent, config=QCFQLConfig(horizon=1))).length == 1
