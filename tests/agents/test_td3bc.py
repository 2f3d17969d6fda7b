"""TD3+BC against plain NumPy, its traps, and its identities."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from warmloop.agents import CQL, SAC, TD3BC, CQLConfig, SACConfig, TD3BCConfig
from warmloop.agents.base import go_on
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Leaf, Spec, example

SPEC = Spec((Leaf("", (5,), "float32"),), 3)
CONFIG = TD3BCConfig(hidden=(16, 16), utd=1, batch_size=8, target_noise=0.5)
KEY = jax.random.key(7)


@pytest.fixture(scope="module")
def agent():
    return TD3BC(CONFIG, SPEC)


@pytest.fixture(scope="module")
def update(agent):
    return jax.jit(agent.update)


@pytest.fixture(scope="module")
def state(agent, shaken):
    """A state whose networks and targets all differ, and whose values are far from zero."""
    state = agent.init(jax.random.key(0), example(SPEC))
    names = ("actor", "target_actor", "critic", "target_critic")
    return state.replace(**{name: shaken(getattr(state, name), seed) for seed, name in enumerate(names)})


def with_settings(agent, **settings):
    return dataclasses.replace(agent, config=dataclasses.replace(agent.config, **settings))


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def differ(a, b):
    return any(not np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_target_is_the_least_target_critic_at_the_target_actions_with_clipped_noise(agent, state, make_batch):
    batch = make_batch(32)
    noise = 0.5 * np.asarray(jax.random.normal(KEY, (32, 3)), np.float64)
    assert (np.abs(noise) > 0.5).any()
    action = oracle.deterministic(state.target_actor, batch.next_observation) + np.clip(noise, -0.5, 0.5)
    assert (np.abs(action) > 1).any()
    q = [oracle.critic(state.target_critic, i, batch.next_observation, np.clip(action, -1, 1), layer_norm=False) for i in (0, 1)]
    expected = np.asarray(batch.reward) + 0.99 * np.asarray(batch.mask) * np.minimum(*q)
    np.testing.assert_allclose(jax.jit(agent.td_target)(state, batch, KEY), expected, rtol=1e-3, atol=1e-3)


def test_target_of_a_terminal_step_is_its_reward_and_of_a_time_out_is_not(agent, state, make_batch):
    over = make_batch(8, mask=np.zeros(8, np.float32))
    cut = make_batch(8, mask=np.ones(8, np.float32), truncated=np.ones(8, bool))
    target = jax.jit(agent.td_target)
    np.testing.assert_array_equal(target(state, over, KEY), over.reward)
    same(target(state, cut, KEY), target(state, cut.replace(truncated=jnp.zeros(8, bool)), KEY))
    assert float(jnp.abs(target(state, cut, KEY) - cut.reward).min()) > 1e-3


def test_critic_loss_is_the_weighted_mean_over_ensemble_and_batch(agent, state, make_batch):
    batch, target = make_batch(8), np.linspace(-1, 1, 8).astype(np.float32)
    loss, (q, td_error) = jax.jit(agent.critics.loss)(state.critic, batch.observation, batch, target, KEY)
    expected = np.stack([oracle.critic(state.critic, i, batch.observation, batch.action, layer_norm=False) for i in (0, 1)])
    np.testing.assert_allclose(q, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(loss, np.mean(np.asarray(batch.weight) * (expected - target) ** 2), rtol=1e-4)
    np.testing.assert_allclose(td_error, np.abs(expected - target).mean(0), rtol=1e-4, atol=1e-5)


def test_actor_loss_is_the_first_critics_scaled_value_and_the_mean_squared_distance(agent, state, make_batch):
    batch = make_batch(8)
    loss, metrics = jax.jit(agent.actor_loss)(state.actor, state.critic, batch, KEY)
    action = oracle.deterministic(state.actor, batch.observation)
    q = oracle.critic(state.critic, 0, batch.observation, action, layer_norm=False)
    distance = np.mean((action - np.asarray(batch.action)) ** 2, axis=-1)
    weight = np.asarray(batch.actor_weight, np.float64)
    np.testing.assert_allclose(loss, np.mean(weight * (distance - 2.5 / np.abs(q).mean() * q)), rtol=1e-3)
    np.testing.assert_allclose(metrics["cloning_loss"], np.mean(weight * distance), rtol=1e-4)
    np.testing.assert_allclose(metrics["q_mean"], q.mean(), rtol=1e-3)


def test_no_gradient_flows_through_lambda(agent, state, make_batch):
    batch = make_batch(8)
    first = jax.tree.map(lambda leaf: leaf[:1], state.critic)

    def parts(actor):
        action = agent.policy.apply(actor, batch.observation)
        return agent.critics.module(1).apply(first, batch.observation, action)[0], jnp.square(action - batch.action).mean(-1)

    def by_hand(actor, scale):
        q, distance = parts(actor)
        return jnp.mean(batch.actor_weight * (distance - (scale or 2.5 / jnp.abs(q).mean()) * q))

    fixed = float(2.5 / jnp.abs(parts(state.actor)[0]).mean())
    got = jax.grad(agent.actor_loss, has_aux=True)(state.actor, state.critic, batch, KEY)[0]
    detached, attached = jax.grad(by_hand)(state.actor, fixed), jax.grad(by_hand)(state.actor, None)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), got, detached)
    assert max(float(jnp.abs(a - b).max()) for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(attached), strict=True)) > 1e-2


def test_the_actor_and_all_targets_move_every_second_step_and_their_optimizer_rests_between(update, state, make_batch):
    block = make_batch(1, 8)
    one, _, _ = update(state, block)
    for name in ("actor", "target_actor", "target_critic", "actor_optimizer"):
        same(getattr(one, name), getattr(state, name))
    assert differ(one.critic, state.critic)
    two, _, _ = update(one, block)
    for name in ("actor", "target_actor", "target_critic", "actor_optimizer"):
        assert differ(getattr(two, name), getattr(one, name)), name
    assert int(two.actor_optimizer[0].count) == 1 and int(two.critic_optimizer[0].count) == 2
    for name in ("actor", "critic"):
        expected = jax.tree.map(lambda old, new: 0.995 * old + 0.005 * new, getattr(one, f"target_{name}"), getattr(two, name))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), getattr(two, f"target_{name}"), expected)


def test_the_delay_counts_on_across_blocks_of_an_odd_number_of_steps(agent, state, make_batch):
    update = jax.jit(with_settings(agent, utd=3).update)
    counts = []
    for _ in range(3):
        state, _, _ = update(state, make_batch(3, 8))
        counts.append((int(state.updates), int(state.actor_optimizer[0].count)))
    assert counts == [(3, 1), (6, 3), (9, 4)]


def test_an_update_without_a_step_of_the_actor_shows_the_last_ones_metrics(update, state, make_batch):
    block = make_batch(1, 8)
    two, at_two, _ = update(update(state, block)[0], block)
    _, at_three, _ = update(two, block)
    assert float(at_two["actor/loss"]) == float(at_three["actor/loss"]) != 0.0


def test_rows_of_weight_zero_move_nothing(agent, state, make_batch):
    batch = make_batch(8)
    changed = batch.replace(action=batch.action.at[0].set(0.9), reward=batch.reward.at[0].set(50.0))
    batch, changed = (x.replace(weight=x.weight.at[0].set(0), actor_weight=x.actor_weight.at[0].set(0)) for x in (batch, changed))

    def gradients(batch):
        target = agent.td_target(state, batch, KEY)
        critic = jax.grad(agent.critics.loss, has_aux=True)(state.critic, batch.observation, batch, target, KEY)[0]
        return critic, jax.grad(agent.actor_loss, has_aux=True)(state.actor, state.critic, batch, KEY)[0]

    gradients = jax.jit(gradients)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), gradients(batch), gradients(changed))


def test_critics_and_policy_fit_one_batch(make_batch):
    agent = TD3BC(dataclasses.replace(CONFIG, hidden=(64, 64), critic_lr=3e-3, actor_lr=3e-3, utd=50, alpha=0.0), SPEC)
    one = np.ones((50, 8), np.float32)
    block = make_batch(50, 8, mask=0 * one, weight=one, actor_weight=one)
    block = jax.tree.map(lambda x: jnp.broadcast_to(x[:1], x.shape), block)
    state, update = agent.init(jax.random.key(0), example(SPEC)), jax.jit(agent.update)
    td_error = jnp.ones((1, 1))
    for _ in range(20):
        state, _, td_error = update(state, block)
    assert float(td_error[-1].max()) < 0.1
    assert float(jnp.abs(jax.vmap(lambda o: act(agent, state, o))(block.observation[0]) - block.action[0]).max()) < 0.1


def act(agent, state, observation, key=KEY, deterministic=True):
    return agent.act(agent.actor_params(state), observation, key, (), deterministic)[0]


def test_acting_explores_by_gaussian_noise_unless_deterministic(agent, state):
    observation = jnp.linspace(-1, 1, 5)
    mode = act(agent, state, observation)
    noisy = jax.vmap(lambda key: act(agent, state, observation, key, False))(jax.random.split(KEY, 2000))
    assert float(jnp.abs(noisy).max()) <= 1
    inside = np.abs(np.asarray(mode)) < 0.6
    assert inside.any()
    np.testing.assert_allclose(np.asarray(noisy).std(0)[inside], 0.1, rtol=0.1)
    same(mode, act(agent, state, observation, jax.random.key(9)))


def test_values_and_td_errors_are_in_the_rewards_own_units(agent, make_batch):
    agent = with_settings(agent, normalise_rewards=True)
    rows = example(SPEC, 50).replace(reward=np.random.default_rng(0).normal(0, 20, 50).astype(np.float32))
    state = agent.init(jax.random.key(0), rows)
    np.testing.assert_allclose(state.reward_scale, 1 / rows.reward.std(), rtol=1e-5)
    batch = make_batch(8, mask=np.zeros(8, np.float32))
    q = agent.q_values(state, batch.observation, batch.action)
    np.testing.assert_allclose(agent.td_error(state, batch, KEY), np.abs(q - batch.reward[None]).mean(0), rtol=1e-4)
    _, _, learnt = jax.jit(agent.update)(state, jax.tree.map(lambda x: x[None], batch))
    np.testing.assert_allclose(learnt[0], agent.td_error(state, batch, KEY) * state.reward_scale, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "fine",
    [
        SAC(SACConfig((16, 16), ensemble=2, critic_layer_norm=False), SPEC),
        CQL(CQLConfig((16, 16), ensemble=2, critic_layer_norm=False), SPEC),
    ],
)
def test_sac_and_cql_go_on_with_the_critics_and_a_policy_of_the_same_mode(agent, update, state, make_batch, fine):
    state, _, _ = update(state, make_batch(1, 8))
    taken = go_on(fine, agent, state)
    sac = taken if fine.name == "sac" else taken.sac
    same((sac.critic, sac.target_critic, sac.critic_optimizer[0]), (state.critic, state.target_critic, state.critic_optimizer[0]))
    same(sac.normaliser, state.normaliser)
    observation = jnp.linspace(-1, 1, 5)
    np.testing.assert_allclose(act(fine, taken, observation), act(agent, state, observation), rtol=1e-5)
    _, log_std = oracle.policy(sac.actor, np.asarray(observation, np.float64)[None])
    np.testing.assert_allclose(np.exp(log_std), 0.1, rtol=1e-5)
    fresh = jax.eval_shape(fine.init, jax.random.key(0), jax.tree.map(jnp.asarray, example(SPEC)))
    assert jax.tree.map(lambda x: x.shape, taken) == jax.tree.map(lambda x: x.shape, fresh)


def test_a_hand_over_that_makes_no_sense_is_refused_in_a_sentence(agent, state):
    sac = SAC(SACConfig((16, 16)), SPEC)
    with pytest.raises(WarmloopError, match="TD3BC cannot go on from SAC's warm-up"):
        go_on(agent, sac, sac.init(KEY, example(SPEC)))
    with pytest.raises(WarmloopError, match="normalised rewards"):
        go_on(sac, with_settings(agent, normalise_rewards=True), state)


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"actor_delay": 0}, "actor_delay"),
        ({"critic_dropout": 1.0}, "critic_dropout"),
        ({"exploration_noise": 0.0}, "exploration_noise"),
        ({"ensemble": 0}, "ensemble"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(wrong, names):
    with pytest.raises(WarmloopError, match=names):
        dataclasses.replace(CONFIG, **wrong)
