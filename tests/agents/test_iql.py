"""IQL against plain NumPy, the order of its updates, and what it prefers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle
import pytest
import two_arms

from warmloop.agents import IQL, SAC, IQLConfig, SACConfig
from warmloop.agents.base import Problem, go_on
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Leaf, Spec, example

SPEC = Spec((Leaf("", (5,), "float32"),), 3)
# A large step of V, so that the new V is not the old one.
CONFIG = IQLConfig(hidden=(16, 16), utd=2, batch_size=8, expectile=0.8, inverse_temperature=2.0, value_lr=0.05)
KEY = jax.random.key(7)
NETWORKS = ("value", "actor", "critic", "target_critic")


@pytest.fixture(scope="module")
def agent():
    return IQL(CONFIG, SPEC)


@pytest.fixture(scope="module")
def state(agent, shaken):
    state = jax.jit(agent.init)(jax.random.key(0), example(SPEC))
    state = state.replace(**{name: shaken(getattr(state, name), seed) for seed, name in enumerate(NETWORKS)})
    lower = state.value["params"] | {"bias_value": state.value["params"]["bias_value"] - 1.2}  # advantages of both signs
    return state.replace(value={"params": lower})


@pytest.fixture(scope="module")
def stepped(agent, state, make_batch):
    """A batch, the state after one step on it, and what the step said."""
    batch = make_batch(8)
    new, (metrics, td_error) = jax.jit(agent.step)(state, (batch, KEY))
    return plain(batch), new, metrics, td_error


def plain(batch):
    return jax.tree.map(np.asarray, batch)


def critics(params, batch):
    return np.stack([oracle.critic(params, i, batch.observation, batch.action, layer_norm=False) for i in range(2)])


def value(params, observation):
    return oracle.critic(params, 0, observation, np.zeros((len(observation), 0)), layer_norm=False)


def log_density(actor, batch):
    mean = np.tanh(oracle.layers(actor, batch.observation, "mean"))
    return oracle.gaussian_density(mean, np.clip(actor["params"]["log_std"], -5, 2), batch.action)


@pytest.mark.long
def test_value_loss_is_the_expectile_of_the_least_target_critic(state, stepped):
    batch, _, metrics, _ = stepped
    advantage = critics(state.target_critic, batch).min(0) - value(state.value, batch.observation)
    assert (advantage < 0).any() and (advantage > 0).any()
    expected = np.mean(batch.weight * np.where(advantage < 0, 0.2, 0.8) * advantage**2)
    np.testing.assert_allclose(metrics["value/loss"], expected, rtol=1e-4)


@pytest.mark.parametrize("which", ["new", "old"])
def test_the_policy_is_weighted_by_the_new_value_not_the_old_one(state, stepped, which):
    batch, new, metrics, _ = stepped
    learnt = new.value if which == "new" else state.value
    weight = np.exp(2.0 * (critics(state.target_critic, batch).min(0) - value(learnt, batch.observation)))
    assert weight.max() < 100
    expected = -np.mean(batch.actor_weight * weight * log_density(state.actor, batch))
    assert np.isclose(metrics["actor/loss"], expected, rtol=1e-3) == (which == "new")


@pytest.mark.parametrize("which", ["new", "old"])
def test_critics_learn_from_the_new_value_of_the_next_state(state, stepped, which):
    batch, new, metrics, td_error = stepped
    learnt = new.value if which == "new" else state.value
    target = batch.reward + 0.99 * batch.mask * value(learnt, batch.next_observation)
    error = critics(state.critic, batch) - np.asarray(target)
    assert np.allclose(td_error, np.abs(error).mean(0), rtol=1e-3, atol=1e-4) == (which == "new")
    assert np.isclose(metrics["critic/loss"], np.mean(batch.weight * error**2), rtol=1e-3) == (which == "new")


def test_targets_move_last_towards_the_new_critics(state, stepped):
    _, new, _, _ = stepped
    expected = jax.tree.map(lambda old, online: 0.995 * old + 0.005 * online, state.target_critic, new.critic)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), new.target_critic, expected)


def test_a_rows_weight_is_at_most_a_hundred(agent, state, make_batch):
    batch = plain(make_batch(8))
    loss, metrics = jax.jit(agent.actor_loss)(state.actor, batch, jnp.full(8, 1000.0), KEY)
    np.testing.assert_allclose(loss, -100 * np.mean(batch.actor_weight * log_density(state.actor, batch)), rtol=1e-4)
    assert float(metrics["actor/weight"]) == 100.0


def test_a_terminal_rows_target_is_its_reward_and_a_time_outs_is_not(agent, state, make_batch):
    terminal = make_batch(8, mask=np.zeros(8, np.float32))
    cut = make_batch(8, mask=np.ones(8, np.float32), truncated=np.ones(8, bool))
    new, (_, td_error) = jax.jit(agent.step)(state, (terminal, KEY))
    q, reward = critics(state.critic, terminal), np.asarray(terminal.reward)
    np.testing.assert_allclose(td_error, np.abs(q - reward).mean(0), rtol=1e-3, atol=1e-4)
    _, (_, td_error) = jax.jit(agent.step)(state, (cut, KEY))
    bootstrapped = reward + 0.99 * value(new.value, cut.next_observation)
    np.testing.assert_allclose(td_error, np.abs(q - bootstrapped).mean(0), rtol=1e-3, atol=1e-4)


def test_the_policys_mean_is_a_tanh_and_its_deviation_the_same_in_every_state(agent, state, make_batch):
    observation = 3.0 * make_batch(8).observation
    mean, log_std = agent.regression.policy.apply(state.actor, observation)
    np.testing.assert_allclose(mean, np.tanh(oracle.layers(state.actor, observation, "mean")), rtol=1e-4, atol=1e-5)
    assert state.actor["params"]["log_std"].shape == (3,) and np.ptp(np.asarray(log_std), axis=0).max() == 0
    acted = jax.vmap(lambda o: agent.act(agent.actor_params(state), o, KEY, (), True)[0])(observation)
    np.testing.assert_allclose(acted, mean, rtol=1e-4, atol=1e-5)


def test_the_log_deviation_stays_within_its_bounds(agent, state, make_batch):
    wild = {"params": state.actor["params"] | {"log_std": jnp.array([9.0, -9.0, 0.3])}}
    _, log_std = agent.regression.policy.apply(wild, make_batch(8).observation)
    np.testing.assert_allclose(log_std[0], [2.0, -5.0, 0.3], rtol=1e-6)


def test_the_policys_step_size_falls_along_a_cosine_offline_and_is_constant_online(agent):
    offline = dataclasses.replace(agent, problem=Problem(warmup_updates=100))
    rates = [float(offline.actor_rate(jnp.int32(updates))) for updates in (0, 25, 50, 100, 150)]
    np.testing.assert_allclose(rates, 3e-4 * np.array([1, 0.5 + 0.5 * np.sqrt(0.5), 0.5, 0, 0]), atol=1e-9)
    assert float(agent.actor_rate(jnp.int32(150))) == pytest.approx(3e-4)


def test_a_decayed_policy_stands_still_until_it_goes_online(agent, state, make_batch):
    offline = dataclasses.replace(agent, problem=Problem(warmup_updates=10))
    done = state.replace(updates=jnp.int32(10))
    for going_on, moves in ((agent, True), (offline, False)):
        new, _ = jax.jit(going_on.actor_step)(go_on(going_on, offline, done), make_batch(8), jnp.zeros(8), KEY)
        assert bool(optax.tree.norm(optax.tree.sub(new.actor, done.actor)) > 0) == moves


def test_dropout_is_in_the_policys_loss_and_not_in_its_actions(agent, state, make_batch):
    dropping = dataclasses.replace(agent, config=dataclasses.replace(CONFIG, actor_dropout=0.5))
    batch, loss = make_batch(8), jax.jit(dropping.actor_loss)
    losses = {float(loss(state.actor, batch, jnp.zeros(8), key)[0]) for key in jax.random.split(KEY, 3)}
    assert len(losses) == 3
    acted = [x.act(x.actor_params(state), batch.observation[0], KEY, (), True)[0] for x in (agent, dropping)]
    np.testing.assert_array_equal(*acted)


@pytest.mark.long
def test_critics_and_value_fit_one_batch_of_terminal_rewards(make_batch):
    agent = IQL(dataclasses.replace(CONFIG, hidden=(64, 64), critic_lr=3e-3, value_lr=3e-3), SPEC)
    one = make_batch(1, 8, mask=np.zeros((1, 8), np.float32), weight=np.ones((1, 8), np.float32))
    block = jax.tree.map(lambda x: jnp.broadcast_to(x, (100, *x.shape[1:])), one)
    state, update, td_error = jax.jit(agent.init)(jax.random.key(0), example(SPEC)), jax.jit(agent.update), jnp.ones(1)
    for _ in range(10):
        state, _, td_error = update(state, block)
    assert float(td_error[-1].max()) < 0.02
    learnt = agent.value(state.value, block.observation[0])
    np.testing.assert_allclose(learnt, block.reward[0], atol=0.2)  # each state has one action, so V is its reward


@pytest.mark.long
def test_it_prefers_the_better_of_two_demonstrated_actions_and_cloning_does_not():
    config = IQLConfig(hidden=(32, 32), utd=100, actor_lr=3e-3, critic_lr=3e-3, value_lr=3e-3, tau=0.05, inverse_temperature=10.0)
    cloning = dataclasses.replace(config, inverse_temperature=0.0)
    learnt, cloned = (IQL(x, two_arms.SPEC) for x in (config, cloning))
    assert (two_arms.actions(learnt, two_arms.trained(learnt)) > 0.5).all()
    assert (two_arms.actions(cloned, two_arms.trained(cloned)) < 0.0).all()


def test_sac_goes_on_with_the_same_mode_and_the_same_critics(agent, state, make_batch):
    sac = SAC(SACConfig(hidden=(16, 16), ensemble=2, critic_layer_norm=False, utd=2, initial_temperature=0.3), SPEC)
    taken = go_on(sac, agent, state)
    for observation in make_batch(8).observation:
        modes = [x.act(x.actor_params(s), observation, KEY, (), True)[0] for x, s in ((agent, state), (sac, taken))]
        np.testing.assert_allclose(*modes, rtol=1e-5, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, (taken.critic, taken.target_critic), (state.critic, state.target_critic))
    assert float(jnp.exp(taken.log_temperature)) == pytest.approx(0.3)
    new, _, td_error = jax.jit(sac.update)(taken, make_batch(2, 8))
    assert int(new.critic_optimizer[0].count) == 2 and bool(jnp.isfinite(td_error).all())
    assert jax.tree.structure(new) == jax.tree.structure(taken)


def test_the_handed_deviation_is_the_same_to_first_order_where_the_mode_is_zero(agent, state):
    handed = agent.hand_over(state).actor
    _, log_std = SAC(SACConfig(hidden=(16, 16)), SPEC).policy.apply(handed, jnp.zeros((1, 5)))
    np.testing.assert_allclose(log_std[0], np.clip(state.actor["params"]["log_std"], -5, 2), rtol=1e-5)


def test_it_goes_on_with_its_own_whole_state(agent, state):
    assert go_on(agent, agent, state) is state


def test_what_cannot_be_handed_over_is_refused(agent, state):
    sac = SAC(SACConfig(hidden=(16, 16)), SPEC)
    with pytest.raises(WarmloopError, match="IQL cannot go on from SAC's warm-up"):
        go_on(agent, sac, state)
    scaled = dataclasses.replace(agent, config=dataclasses.replace(CONFIG, normalise_rewards=True))
    with pytest.raises(WarmloopError, match="normalise_rewards"):
        go_on(sac, scaled, state)


@pytest.mark.parametrize(
    ("wrong", "names"), [({"expectile": 1.0}, "expectile"), ({"inverse_temperature": -1.0}, "inverse_temperature"), ({"utd": 0}, "utd")]
)
def test_a_wrong_setting_is_refused_by_name(wrong, names):
    with pytest.raises(WarmloopError, match=names):
        dataclasses.replace(CONFIG, **wrong)
