"""CQL and Cal-QL against plain NumPy, and their identities."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from warmloop.agents import CQL, SAC, CQLConfig, SACConfig
from warmloop.agents.cql import Aims
from warmloop.agents.shared.gradients import accumulated_gradient
from warmloop.data.transition import Leaf, Spec, example

SPEC = Spec((Leaf("", (5,), "float32"),), 3)
CONFIG = CQLConfig(hidden=(16, 16), ensemble=2, target_subset=2, utd=2, batch_size=8, cql_actions=4, cql_weight=2.0, cql_temperature=0.7)


@pytest.fixture(scope="module")
def agent():
    return CQL(CONFIG, SPEC)


@pytest.fixture(scope="module")
def state(agent):
    return agent.init(jax.random.key(0), example(SPEC))


def test_proposals_are_uniform_then_from_the_policy_at_s_and_at_the_next_s(agent, state, make_batch):
    batch = make_batch(6)
    actions, density = jax.jit(agent.proposals)(state.sac, batch, jax.random.key(1))
    assert actions.shape == (6, 12, 3)
    np.testing.assert_allclose(density[:, :4], -3 * np.log(2), rtol=1e-6)
    for start, observation in ((4, batch.observation), (8, batch.next_observation)):
        mean, log_std = (x[:, None] for x in oracle.policy(state.sac.actor, np.asarray(observation, np.float64)))
        expected = oracle.log_density(mean, log_std, np.asarray(actions[:, start : start + 4], np.float64))
        np.testing.assert_allclose(density[:, start : start + 4], expected, rtol=1e-2, atol=1e-2)


def test_loss_is_td_plus_the_importance_corrected_gap(agent, state, make_batch):
    batch, target = make_batch(6), np.linspace(-1, 1, 6).astype(np.float32)
    proposals = jax.jit(agent.proposals)(state.sac, batch, jax.random.key(1))
    loss, (_, _, gap) = jax.jit(agent.critic_loss)(state.sac.critic, jnp.float32(2.0), batch.observation, batch, Aims(target, *proposals))
    td, gaps = [], []
    for i in range(2):
        data = oracle.critic(state.sac.critic, i, batch.observation, batch.action)
        each = np.stack([oracle.critic(state.sac.critic, i, batch.observation, proposals[0][:, k]) for k in range(12)], -1)
        td.append((data - target) ** 2)
        gaps.append(0.7 * oracle.logsumexp((each - np.asarray(proposals[1], np.float64)) / 0.7) - data)
    weight = np.asarray(batch.weight)
    np.testing.assert_allclose(gap, np.mean(weight * np.stack(gaps), axis=0), rtol=1e-3)
    np.testing.assert_allclose(loss, np.mean(weight * np.stack(td)) + 2.0 * np.mean(weight * np.stack(gaps)), rtol=1e-3)


def test_the_gradient_over_parts_of_a_batch_is_that_of_the_whole(agent, state, make_batch):
    batch, target = make_batch(8), np.linspace(-1, 1, 8).astype(np.float32)
    rows = (batch.observation, batch, Aims(target, *jax.jit(agent.proposals)(state.sac, batch, jax.random.key(1))))

    def loss(critic, *rows):
        return jax.jit(agent.critic_loss)(critic, jnp.float32(2.0), *rows)

    gradient = jax.jit(lambda critic, rows, parts: accumulated_gradient(loss, critic, rows, parts), static_argnums=2)
    whole, in_parts = (gradient(state.sac.critic, rows, parts) for parts in (1, 4))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), whole, in_parts)


def test_calibration_lifts_the_policys_actions_only_and_only_below_a_known_return(agent):
    calibrated = dataclasses.replace(agent, config=dataclasses.replace(CONFIG, calibrated=True, cql_temperature=1.0))
    plain = dataclasses.replace(agent, config=dataclasses.replace(CONFIG, cql_temperature=1.0))
    rng = np.random.default_rng(0)
    q, density = rng.normal(size=(2, 3, 12)).astype(np.float32), rng.normal(size=(3, 12)).astype(np.float32)
    q_data, returns = np.zeros((2, 3), np.float32), np.array([0.5, -np.inf, -100.0], np.float32)
    lifted = q.copy()
    lifted[:, 0, 4:] = np.maximum(q[:, 0, 4:], 0.5)
    assert (lifted != q).any() and (q[:, 0, :4] < 0.5).any()
    got = calibrated.conservative_gap(q, density, q_data, returns)
    np.testing.assert_allclose(got, oracle.logsumexp(lifted - density), rtol=1e-5)
    np.testing.assert_array_equal(got[:, 1:], plain.conservative_gap(q, density, q_data, returns)[:, 1:])


def test_max_backup_takes_the_best_of_many_actions(agent, state, make_batch):
    best = dataclasses.replace(agent, config=dataclasses.replace(CONFIG, max_backup=True, backup_actions=64))
    batch = make_batch(6, mask=np.ones(6, np.float32))
    target = np.asarray(jax.jit(best.sac.td_target)(state.sac, batch, jax.random.key(0)))
    single = np.stack([np.asarray(jax.jit(agent.sac.td_target)(state.sac, batch, key)) for key in jax.random.split(jax.random.key(1), 20)])
    assert (target > single.mean(0)).all()


@pytest.mark.long
def test_the_dual_variable_rises_while_the_gap_is_above_its_aim(agent, make_batch):
    for aim, rises in ((-100.0, True), (100.0, False)):
        dual = dataclasses.replace(agent, config=dataclasses.replace(CONFIG, lagrange=True, lagrange_gap=aim))
        state = dual.init(jax.random.key(0), example(SPEC))
        new, _, _ = jax.jit(dual.update)(state, make_batch(2, 8))
        assert (float(new.log_lagrange) > float(state.log_lagrange)) == rises
        assert int(new.lagrange_optimizer[0].count) == 2


def test_without_lagrange_its_optimizer_does_not_move(agent, state, make_batch):
    new, _, _ = jax.jit(agent.update)(state, make_batch(2, 8))
    assert int(new.lagrange_optimizer[0].count) == 0
    assert float(new.log_lagrange) == float(state.log_lagrange)


def test_conservatism_lowers_unseen_actions_below_the_data(agent, state, make_batch):
    block, update = make_batch(2, 8, weight=np.ones((2, 8), np.float32)), jax.jit(agent.update)
    for _ in range(150):
        state, _, _ = update(state, block)
    observation, action = block.observation[-1], block.action[-1]
    unseen = jax.random.uniform(jax.random.key(0), (8, 50, 3), minval=-1, maxval=1)
    critic = agent.sac.critics.module(2)
    gap = critic.apply(state.sac.critic, observation, action) - critic.apply(state.sac.critic, observation, unseen).mean(-1)
    assert float(gap.mean()) > 0.1


@pytest.mark.long
def test_a_cloning_term_draws_the_policy_to_the_recorded_actions(agent, state, make_batch):
    block = make_batch(2, 8, weight=np.ones((2, 8), np.float32), offline=np.ones((2, 8), bool))
    distances = {}
    for weight in (0.0, 100.0):
        cloning = dataclasses.replace(agent, config=dataclasses.replace(CONFIG, bc_weight=weight, actor_lr=1e-2))
        update = jax.jit(cloning.update)
        learnt, metrics, _ = update(state, block)
        for _ in range(40):
            learnt, metrics, _ = update(learnt, block)
        assert ("actor/cloning_loss" in metrics) == (weight > 0)
        actor = cloning.actor_params(learnt)
        mode, _ = cloning.act(actor, block.observation[-1], jax.random.key(0), (), deterministic=True)
        distances[weight] = float(jnp.abs(mode - block.action[-1]).mean())
    assert distances[100.0] < 0.7 * distances[0.0]


def test_sac_takes_over_everything_bit_by_bit(agent, state, make_batch):
    state, _, _ = jax.jit(agent.update)(state, make_batch(2, 8))
    sac = SAC(SACConfig(hidden=(16, 16), ensemble=2, target_subset=2), SPEC)
    taken = sac.take_over(agent.hand_over(state))
    jax.tree.map(np.testing.assert_array_equal, taken.replace(key=0), state.sac.replace(key=0))
    assert int(taken.critic_optimizer[0].count) == 2 and int(taken.actor_optimizer[0].count) == 1
    shapes = jax.eval_shape(lambda: sac.init(jax.random.key(0), jax.tree.map(jnp.asarray, example(SPEC))))
    assert jax.tree.structure(taken) == jax.tree.structure(shapes)
