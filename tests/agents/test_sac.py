"""SAC against plain NumPy, and its identities."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle
import pytest

from warmloop.agents import SAC, SACConfig
from warmloop.agents.base import Problem
from warmloop.agents.networks.networks import Critic, log_density, sample_action
from warmloop.agents.networks.normaliser import blurred
from warmloop.agents.shared.critics import subset
from warmloop.data.errors import WarmloopError
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.transition import Leaf, Source, Spec, example
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import draw

SPEC = Spec((Leaf("", (5,), "float32"),), 3)
CONFIG = SACConfig(hidden=(16, 16), ensemble=4, target_subset=2, utd=3, batch_size=8, initial_temperature=0.3)


@pytest.fixture(scope="module")
def agent():
    return SAC(CONFIG, SPEC)


@pytest.fixture(scope="module")
def state(agent):
    """A state whose critics and targets differ, and whose values are far from zero."""
    state = agent.init(jax.random.key(0), example(SPEC))
    shift = jax.tree.map(lambda x, k: x + 0.3 * jax.random.normal(k, x.shape), state.critic, _keys(state.critic, 1))
    target = jax.tree.map(lambda x, k: x + 0.3 * jax.random.normal(k, x.shape), state.critic, _keys(state.critic, 2))
    return state.replace(critic=shift, target_critic=target)


def _keys(tree, seed):
    leaves, structure = jax.tree.flatten(tree)
    return jax.tree.unflatten(structure, list(jax.random.split(jax.random.key(seed), len(leaves))))


def test_critic_loss_is_the_weighted_mean_over_ensemble_and_batch(agent, state, make_batch):
    batch = make_batch(8)
    target = np.linspace(-1, 1, 8).astype(np.float32)
    loss, (q, td_error) = jax.jit(agent.critics.loss)(state.critic, batch.observation, batch, target)
    expected = np.stack([oracle.critic(state.critic, i, batch.observation, batch.action) for i in range(4)])
    np.testing.assert_allclose(q, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(loss, np.mean(np.asarray(batch.weight) * (expected - target) ** 2), rtol=1e-4)
    np.testing.assert_allclose(td_error, np.abs(expected - target).mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backup", [False, True])
def test_target_is_reward_plus_discounted_minimum_of_a_subset_of_two_different_targets(agent, state, make_batch, backup):
    agent = dataclasses.replace(agent, config=dataclasses.replace(CONFIG, backup_entropy=backup))
    batch, key = make_batch(8), jax.random.key(7)
    got = np.asarray(jax.jit(agent.td_target)(state, batch, key))
    mean, log_std = oracle.policy(state.actor, np.asarray(batch.next_observation, np.float64))
    action = np.asarray(
        sample_action(jax.random.split(key)[1], jnp.asarray(mean, jnp.float32), jnp.asarray(log_std, jnp.float32))[0], np.float64
    )
    entropy = 0.3 * oracle.log_density(mean, log_std, action) if backup else 0.0
    q = np.stack([oracle.critic(state.target_critic, i, batch.next_observation, action) for i in range(4)])
    subsets = [
        np.asarray(batch.reward) + 0.99 * np.asarray(batch.mask) * (np.minimum(q[i], q[j]) - entropy) for i in range(4) for j in range(i)
    ]
    assert min(np.abs(got - y).max() for y in subsets) < 2e-3


def test_target_of_a_terminal_step_is_its_reward(agent, state, make_batch):
    batch = make_batch(8, mask=np.zeros(8, np.float32))
    np.testing.assert_array_equal(jax.jit(agent.td_target)(state, batch, jax.random.key(0)), batch.reward)


def test_target_subsets_are_all_drawn_and_never_hold_one_member_twice(agent, state):
    numbered = {"params": {"number": jnp.arange(4.0)}}
    draws = jax.vmap(lambda key: subset(numbered, key, agent.config.target_subset)["params"]["number"])(
        jax.random.split(jax.random.key(0), 200)
    )
    pairs = {tuple(sorted(pair)) for pair in np.asarray(draws).tolist()}
    assert pairs == {(float(i), float(j)) for j in range(4) for i in range(j)}


def test_clipped_target_stays_within_the_returns_bounds(agent, state, make_batch):
    clipped = SAC(dataclasses.replace(CONFIG, clip_target=True), SPEC, Problem(return_low=0.0, return_high=0.5))
    batch, key = make_batch(64), jax.random.key(3)
    free = np.asarray(jax.jit(agent.td_target)(state, batch, key))
    assert free.min() < 0 and free.max() > 0.5
    np.testing.assert_allclose(jax.jit(clipped.td_target)(state, batch, key), np.clip(free, 0, 0.5), rtol=1e-6)


@pytest.mark.parametrize("aggregate", ["mean", "min"])
def test_actor_loss_is_entropy_minus_value(agent, state, make_batch, aggregate):
    agent = dataclasses.replace(agent, config=dataclasses.replace(CONFIG, actor_q=aggregate))
    batch, key = make_batch(8), jax.random.key(5)
    loss, metrics = jax.jit(agent.actor_loss)(state.actor, state, batch, key)
    mean, log_std = oracle.policy(state.actor, np.asarray(batch.observation, np.float64))
    action = np.asarray(sample_action(key, jnp.asarray(mean, jnp.float32), jnp.asarray(log_std, jnp.float32))[0], np.float64)
    q = np.stack([oracle.critic(state.critic, i, batch.observation, action) for i in range(4)])
    weight, log_prob = np.asarray(batch.actor_weight, np.float64), oracle.log_density(mean, log_std, action)
    value = getattr(q, aggregate)(axis=0)
    np.testing.assert_allclose(loss, np.mean(weight * (0.3 * log_prob - value)), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(metrics["actor/entropy"], -np.mean(weight * log_prob) / weight.mean(), rtol=1e-3)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_cloning_counts_demonstrations_and_interventions_only(agent, make_batch, reduction):
    agent = dataclasses.replace(agent, config=dataclasses.replace(CONFIG, bc_weight=1.0, bc_reduction=reduction))
    source = np.array([Source.DEMOS, Source.RANDOM, Source.ONLINE, Source.ONLINE], np.int32)
    batch = make_batch(4, source=source, offline=np.array([True, True, False, False]), intervened=np.array([False, False, True, False]))
    action = jnp.zeros((4, 3))
    squares = getattr(np, reduction)(np.asarray(batch.action) ** 2, axis=-1) * np.asarray(batch.actor_weight)
    np.testing.assert_allclose(agent.cloning_loss(action, batch, jnp.zeros(4)), (squares[0] + squares[2]) / 2, rtol=1e-5)


def test_log_density_matches_the_density_of_the_action_and_stays_finite_at_the_edge():
    mean, log_std = jnp.array([[0.2, -0.4]]), jnp.array([[-0.5, 0.1]])
    action, log_prob = sample_action(jax.random.key(0), mean, log_std)
    np.testing.assert_allclose(
        log_prob, oracle.log_density(np.asarray(mean), np.asarray(log_std), np.asarray(action, np.float64)), rtol=1e-4
    )
    _, far = sample_action(jax.random.key(0), mean + 40, log_std)
    assert np.isfinite(np.asarray(far)).all()


def test_many_actions_per_state_are_valued_as_one_by_one():
    critic = Critic(3, (16, 16))
    key = jax.random.key(0)
    observation, action = jax.random.normal(key, (6, 5)), jax.random.normal(key, (6, 4, 3))
    params = critic.init(key, observation, action[:, 0])
    together = critic.apply(params, observation, action)
    for i in range(4):
        np.testing.assert_allclose(together[:, :, i], critic.apply(params, observation, action[:, i]), rtol=1e-4, atol=1e-6)


def test_block_is_k_critic_steps_then_one_actor_step(agent, state, make_batch):
    block = make_batch(3, 8)
    new, _, td_error = jax.jit(agent.update)(state, block)
    assert td_error.shape == (3, 8)
    assert int(new.updates) == 3
    assert int(new.critic_optimizer[0].count) == 3
    assert int(new.actor_optimizer[0].count) == 1
    assert int(new.temperature_optimizer[0].count) == 1


def test_a_critic_step_leaves_actor_and_temperature_and_their_optimizers_alone(agent, state, make_batch):
    new, _ = jax.jit(agent.critic_step)(state, (make_batch(8), jax.random.key(0)))
    for part in ("actor", "acting", "actor_optimizer", "log_temperature", "temperature_optimizer", "normaliser"):
        jax.tree.map(np.testing.assert_array_equal, getattr(new, part), getattr(state, part))
    changed = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), new.critic, state.critic)
    assert any(jax.tree.leaves(changed))


def test_an_actor_step_leaves_the_critics_alone(agent, state, make_batch):
    new, _ = jax.jit(agent.actor_step)(state, make_batch(8), jax.random.key(0))
    for part in ("critic", "target_critic", "critic_optimizer"):
        jax.tree.map(np.testing.assert_array_equal, getattr(new, part), getattr(state, part))


def test_targets_follow_by_polyak_averaging(agent, state, make_batch):
    new, _ = jax.jit(agent.critic_step)(state, (make_batch(8), jax.random.key(0)))
    expected = jax.tree.map(lambda old, online: 0.995 * old + 0.005 * online, state.target_critic, new.critic)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), new.target_critic, expected)


def test_the_acting_policy_is_the_average_of_the_trained_one(agent, state, make_batch):
    slow = dataclasses.replace(agent, config=dataclasses.replace(CONFIG, actor_tau=0.1))
    new, _ = jax.jit(slow.actor_step)(state, make_batch(8), jax.random.key(0))
    expected = jax.tree.map(lambda old, trained: 0.9 * old + 0.1 * trained, state.acting, new.actor)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7), slow.actor_params(new).params, expected)
    new, _ = jax.jit(agent.actor_step)(state, make_batch(8), jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, agent.actor_params(new).params, new.actor)


def test_temperature_falls_when_entropy_is_above_its_aim_and_rises_below(agent, state, make_batch):
    batch = make_batch(8)
    for aim, falls in ((-50.0, True), (50.0, False)):
        tuned = dataclasses.replace(agent, config=dataclasses.replace(CONFIG, target_entropy_per_dim=aim))
        new, _ = jax.jit(tuned.actor_step)(state, batch, jax.random.key(0))
        assert (float(new.log_temperature) < float(state.log_temperature)) == falls


def test_zero_weight_rows_do_not_move_the_critics(agent, state, make_batch):
    batch = make_batch(8, weight=np.zeros(8, np.float32))
    gradient = jax.grad(lambda critic: agent.critics.loss(critic, batch.observation, batch, batch.reward)[0])(state.critic)
    assert float(optax.tree.norm(gradient)) == 0.0


def test_critics_fit_one_batch_of_terminal_rewards(make_batch):
    agent = SAC(dataclasses.replace(CONFIG, hidden=(64, 64), critic_lr=3e-3), SPEC)
    block = make_batch(50, 8, mask=np.zeros((50, 8), np.float32), weight=np.ones((50, 8), np.float32))
    block = jax.tree.map(lambda x: jnp.broadcast_to(x[:1], x.shape), block)
    state, update = agent.init(jax.random.key(0), example(SPEC)), jax.jit(agent.update)
    _, first, _ = update(state, block)
    td_error = jnp.ones((1, 1))
    for _ in range(12):
        state, _, td_error = update(state, block)
    assert float(jnp.mean(jnp.square(td_error[-1]))) < 1e-3 * float(first["critic/loss"])


def test_policy_clones_one_batch(make_batch):
    agent = SAC(dataclasses.replace(CONFIG, hidden=(64, 64), actor_lr=3e-3, bc_weight=100.0, initial_temperature=1e-3), SPEC)
    block = make_batch(
        1, 8, source=np.full((1, 8), Source.DEMOS, np.int32), offline=np.ones((1, 8), bool), actor_weight=np.ones((1, 8), np.float32)
    )
    state, update = agent.init(jax.random.key(0), example(SPEC)), jax.jit(agent.update)
    for _ in range(500):
        state, _, _ = update(state, block)
    action = jax.vmap(lambda o: agent.act(agent.actor_params(state), o, jax.random.key(0), (), True)[0])(block.observation[0])
    assert float(jnp.abs(action - block.action[0]).max()) < 0.1


def test_acting_uses_the_statistics_of_the_warm_up_data():
    rows = example(SPEC, 100).replace(observation=np.random.default_rng(0).normal(3, 2, (100, 5)).astype(np.float32))
    agent = SAC(CONFIG, SPEC)
    state = agent.init(jax.random.key(0), rows)
    np.testing.assert_allclose(state.normaliser(rows.observation).mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(state.normaliser(rows.observation).std(0), 1, rtol=1e-4)
    assert agent.actor_params(state).normaliser is state.normaliser


@pytest.mark.parametrize(
    ("wrong", "names"), [({"target_subset": 5}, "target_subset"), ({"actor_q": "max"}, "actor_q"), ({"utd": 0}, "utd")]
)
def test_a_wrong_setting_is_refused_by_name(wrong, names):
    with pytest.raises(WarmloopError, match=names):
        dataclasses.replace(CONFIG, **wrong)


# Settings of published presets that sac's own defaults leave off.


def small_agent(**settings):
    return SAC(SACConfig(**{"hidden": (16, 16), "ensemble": 2, "target_subset": 2, "utd": 2, "batch_size": 8} | settings), SPEC)


def test_the_policy_may_have_other_widths_than_the_critics_and_begin_narrow():
    agent = small_agent(actor_hidden=(8,), initial_log_std=-1.0)
    state = agent.init(jax.random.key(0), example(SPEC))
    layers = state.actor["params"]
    assert (layers["hidden_0"]["kernel"].shape, layers["gaussian"]["kernel"].shape) == ((5, 8), (8, 6))
    assert state.critic["params"]["kernel_0"].shape == (2, 8, 16) and state.critic["params"]["kernel_1"].shape == (2, 16, 16)
    _, log_std = agent.policy.apply(state.actor, jnp.zeros(5))
    np.testing.assert_allclose(log_std, -1.0, atol=0.05)


def test_the_policys_step_may_see_the_whole_block(make_batch):
    batch = make_batch(2, 8)
    last, block = (small_agent(actor_on_block=whole).actor_rows(batch) for whole in (False, True))
    np.testing.assert_array_equal(last.reward, batch.reward[-1])
    np.testing.assert_array_equal(block.reward, batch.reward.reshape(-1))
    assert block.observation.shape == (16, 5)


def test_for_its_first_updates_the_policy_may_clone_instead_of_following_q(make_batch):
    agent = small_agent(clone_updates=10)
    state, batch, key = agent.init(jax.random.key(0), example(SPEC)), make_batch(8), jax.random.key(1)
    mean, log_std = agent.policy.apply(state.actor, batch.observation)
    _, log_prob = sample_action(key, mean, log_std)
    expected = jnp.mean(batch.actor_weight * (jnp.exp(state.log_temperature) * log_prob - log_density(batch.action, mean, log_std)))
    early, late = (agent.actor_loss(state.actor, state.replace(updates=jnp.int32(n)), batch, key)[0] for n in (9, 10))
    np.testing.assert_allclose(early, expected, rtol=1e-5)
    np.testing.assert_allclose(late, small_agent().actor_loss(state.actor, state, batch, key)[0], rtol=1e-5)
    assert abs(float(early) - float(late)) > 0.1


def test_noise_on_observations_has_a_key_that_no_step_of_the_block_has(state, make_batch):
    agent, batch = SAC(dataclasses.replace(CONFIG, observation_noise=0.5), SPEC), make_batch(3, 8)
    seen = agent.as_learnt(state, batch).observation
    assert not np.array_equal(seen, batch.observation)
    for key in jax.random.split(state.key, 5):
        assert not np.array_equal(seen, blurred(batch, state.normaliser, 0.5, key).observation)


@pytest.mark.long
def test_a_target_of_three_steps_is_their_rewards_and_the_value_of_where_they_lead():
    """Of an episode that was over after 5 steps and one that was cut after 2: the first ends in nothing, the second in what may follow."""
    agent = SAC(dataclasses.replace(CONFIG, n_step=3, ensemble=2, batch_size=32, normalise_observations=False), SPEC, Problem(0.9))
    rng, step = np.random.default_rng(0), np.array([0, 1, 2, 3, 4, 0, 1], np.int32)
    seen = rng.normal(size=(9, 5)).astype(np.float32)
    rows = example(SPEC, 7).replace(
        observation=seen[[0, 1, 2, 3, 4, 6, 7]],
        next_observation=seen[[1, 2, 3, 4, 5, 7, 8]],
        reward=np.arange(1, 8, dtype=np.float32),
        mask=np.array([1, 1, 1, 1, 0, 1, 1], np.float32),
        truncated=np.arange(7) == 6,
        step=step,
        episode=np.array([0] * 5 + [1] * 2, np.int32),
    )
    parts = LearnerParts(agent, ReplayConfig(capacity=1, alpha=0.0), MixingConfig())
    learner, block = draw(create(parts, 0, rows), parts)
    batch = jax.tree.map(lambda x: np.asarray(x[0]), block.batch)
    state, key = learner.agent, jax.random.key(2)
    leads_to = np.array([3, 4, 5, 5, 5, 8, 8])  # what is seen three steps on, or at the end
    place = 5 * batch.episode + batch.step
    assert set(place) == set(range(7)), "each row was drawn"
    action, _ = sample_action(key, *agent.policy.apply(state.actor, seen[leads_to[place]]))
    value = np.asarray(agent.critics(state.target_critic, seen[leads_to[place]], action).min(axis=0))
    paid = np.array([sum(0.9**i * rows.reward[at + i] for i in range(min(3, (5 if at < 5 else 7) - at))) for at in place])
    power = np.array([0.9 ** min(3, (5 if at < 5 else 7) - at) for at in place])
    wanted = paid + np.where((place >= 2) & (place < 5), 0.0, power * value)
    np.testing.assert_allclose(agent.td_target(state, batch, key), wanted, rtol=1e-4, atol=1e-5)
