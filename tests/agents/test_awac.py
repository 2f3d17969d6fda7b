"""AWAC against plain NumPy, the order of its updates, and what it prefers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import two_arms

from warmloop.agents import AWAC, SAC, AWACConfig, SACConfig
from warmloop.agents.base import Problem, go_on
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Leaf, Spec, example

SPEC = Spec((Leaf("", (5,), "float32"),), 3)
# A large step of the critics, so that the new ones are not the old ones.
CONFIG = AWACConfig(hidden=(16, 16), utd=2, batch_size=8, temperature=0.8, critic_lr=0.05)
KEY = jax.random.key(7)
NETWORKS = ("actor", "critic", "target_critic")


@pytest.fixture(scope="module")
def agent():
    return AWAC(CONFIG, SPEC)


@pytest.fixture(scope="module")
def state(agent, shaken):
    state = jax.jit(agent.init)(jax.random.key(0), example(SPEC))
    return state.replace(**{name: shaken(getattr(state, name), seed) for seed, name in enumerate(NETWORKS)})


@pytest.fixture(scope="module")
def stepped(agent, state, make_batch):
    """A batch, the keys of one step on it, the state after it, and what it said."""
    batch = make_batch(8)
    new, (metrics, td_error) = jax.jit(agent.step)(state, (batch, KEY))
    return plain(batch), jax.random.split(KEY, 4), new, metrics, td_error


def plain(batch):
    return jax.tree.map(np.asarray, batch)


def least(params, observation, action):
    return critics(params, observation, action).min(0)


def critics(params, observation, action):
    return np.stack([oracle.critic(params, i, observation, action, layer_norm=False) for i in range(2)])


def gaussian(actor, observation):
    return np.tanh(oracle.layers(actor, observation, "mean")), np.clip(np.asarray(actor["params"]["log_std"]), -6, 0)


def sampled(actor, observation, key):
    mean, log_std = gaussian(actor, observation)
    return np.clip(mean + np.exp(log_std) * np.asarray(jax.random.normal(key, mean.shape)), -1, 1)


def test_critics_learn_from_the_least_target_of_the_policys_next_action_without_entropy(state, stepped):
    batch, keys, _, metrics, td_error = stepped
    following = sampled(state.actor, batch.next_observation, keys[0])
    target = batch.reward + 0.99 * batch.mask * least(state.target_critic, batch.next_observation, following)
    error = critics(state.critic, batch.observation, batch.action) - target
    np.testing.assert_allclose(td_error, np.abs(error).mean(0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(metrics["critic/loss"], np.mean(batch.weight * error**2), rtol=1e-3)


@pytest.mark.parametrize("which", ["new", "old", "target"])
def test_the_advantage_is_over_the_policys_own_action_by_the_new_critics(state, stepped, which):
    batch, keys, new, metrics, _ = stepped
    params = {"new": new.critic, "old": state.critic, "target": new.target_critic}[which]
    own = sampled(state.actor, batch.observation, keys[2])
    advantage = least(params, batch.observation, batch.action) - least(params, batch.observation, own)
    weight = np.minimum(np.exp(advantage / 0.8), 100)
    density = oracle.gaussian_density(*gaussian(state.actor, batch.observation), batch.action)
    expected = -np.mean(batch.actor_weight * weight * density)
    assert np.isclose(metrics["actor/loss"], expected, rtol=1e-3) == (which == "new")


def test_targets_move_last_towards_the_new_critics(state, stepped):
    new = stepped[2]
    expected = jax.tree.map(lambda old, online: 0.995 * old + 0.005 * online, state.target_critic, new.critic)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), new.target_critic, expected)


def test_a_rows_weight_is_at_most_a_hundred(agent, state, make_batch):
    batch = plain(make_batch(8))
    loss, metrics = jax.jit(agent.actor_loss)(state.actor, batch, jnp.full(8, 1000.0), KEY)
    density = oracle.gaussian_density(*gaussian(state.actor, batch.observation), batch.action)
    np.testing.assert_allclose(loss, -100 * np.mean(batch.actor_weight * density), rtol=1e-4)
    assert float(metrics["actor/weight"]) == 100.0


def test_the_policys_gradient_does_not_pass_through_its_own_action(agent, state, make_batch):
    batch = make_batch(8)

    def loss(actor):
        return agent.actor_loss(actor, batch, agent.advantage(state, batch, KEY), KEY)[0]

    new, _ = jax.jit(lambda: agent.actor_step(state, batch, agent.advantage(state, batch, KEY), KEY))()
    gradient = jax.jit(jax.grad(loss))(state.actor)
    first = jax.tree.map(lambda g, x: x - 3e-4 * g / (jnp.abs(g) + 1e-8), gradient, state.actor)  # Adam's first step
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6), new.actor, first)


def test_a_terminal_rows_target_is_its_reward_and_a_time_outs_is_not(agent, state, make_batch):
    terminal = make_batch(8, mask=np.zeros(8, np.float32))
    np.testing.assert_array_equal(jax.jit(agent.td_target)(state, terminal, KEY), terminal.reward)
    cut = plain(make_batch(8, mask=np.ones(8, np.float32), truncated=np.ones(8, bool)))
    following = sampled(state.actor, cut.next_observation, KEY)
    expected = cut.reward + 0.99 * least(state.target_critic, cut.next_observation, following)
    np.testing.assert_allclose(jax.jit(agent.td_target)(state, cut, KEY), expected, rtol=1e-3, atol=1e-4)


def test_sampled_actions_stay_within_the_range_that_the_critics_have_seen(agent, state, make_batch):
    actor, observation = agent.actor_params(state), make_batch(64).observation
    act = jax.vmap(lambda o, k: agent.act(actor, o, k, ())[0])
    actions = np.asarray(act(observation, jax.random.split(KEY, 64)))
    assert np.abs(actions).max() == 1.0 and (np.abs(actions) < 1).any()


@pytest.mark.long
def test_it_prefers_the_better_of_two_demonstrated_actions_and_cloning_does_not():
    config = AWACConfig(hidden=(32, 32), utd=100, actor_lr=3e-3, critic_lr=3e-3, tau=0.05, temperature=0.1)
    cloning = dataclasses.replace(config, temperature=1e6)
    learnt, cloned = (AWAC(x, two_arms.SPEC) for x in (config, cloning))
    assert (two_arms.actions(learnt, two_arms.trained(learnt)) > 0.5).all()
    assert (two_arms.actions(cloned, two_arms.trained(cloned)) < 0.0).all()


def test_sac_goes_on_with_the_same_mode_and_the_same_critics(agent, state, make_batch):
    sac = SAC(SACConfig(hidden=(16, 16), ensemble=2, critic_layer_norm=False), SPEC)
    taken = go_on(sac, agent, state)
    for observation in make_batch(8).observation:
        modes = [x.act(x.actor_params(s), observation, KEY, (), True)[0] for x, s in ((agent, state), (sac, taken))]
        np.testing.assert_allclose(*modes, rtol=1e-5, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, (taken.critic, taken.target_critic), (state.critic, state.target_critic))


def test_a_policy_with_a_state_dependent_deviation_is_refused(agent, state):
    with pytest.raises(WarmloopError, match="AWAC cannot go on from SAC's warm-up"):
        go_on(agent, SAC(SACConfig(), SPEC), state)


@pytest.mark.parametrize(("wrong", "names"), [({"temperature": 0.0}, "temperature"), ({"ensemble": 0}, "ensemble")])
def test_a_wrong_setting_is_refused_by_name(wrong, names):
    with pytest.raises(WarmloopError, match=names):
        dataclasses.replace(CONFIG, **wrong)


def test_the_softmax_weighs_rows_by_their_share_of_the_minibatch_and_counts_advantages_up_to_the_limit(state, make_batch):
    agent = AWAC(dataclasses.replace(CONFIG, weighting="softmax", advantage_limit=0.5), SPEC)
    batch, advantage = make_batch(8), np.linspace(-1, 2, 8, dtype=np.float32)
    _, metrics = agent.actor_loss(state.actor, batch, jnp.asarray(advantage), KEY)
    loss, _ = agent.regression.loss(state.actor, batch, 8 * jax.nn.softmax(np.minimum(advantage, 0.5) / 0.8), KEY)
    assert float(metrics["actor/weight"]) == pytest.approx(1.0, rel=1e-5)
    assert float(metrics["actor/loss"]) == pytest.approx(float(loss), rel=1e-5)


def test_a_softmaxs_weight_has_no_limit_but_the_minibatch(state, make_batch):
    """By rlkit's code a single row may have all of it: at a batch of 1,024 a limit of 100 would leave a tenth."""
    batch, advantage = make_batch(8), jnp.zeros(8).at[3].set(50.0)
    agent = AWAC(dataclasses.replace(CONFIG, weighting="softmax", weight_limit=2.0), SPEC)
    loss, metrics = agent.actor_loss(state.actor, batch, advantage, KEY)
    alone, _ = agent.regression.loss(state.actor, batch, 8 * jax.nn.one_hot(3, 8), KEY)
    assert float(metrics["actor/weight"]) == pytest.approx(1.0, rel=1e-5)
    assert float(loss) == pytest.approx(float(alone), rel=1e-5)


def test_the_policys_l2_is_the_gradient_that_pytorchs_weight_decay_adds(agent, state, make_batch):
    batch, advantage = make_batch(8), jnp.zeros(8)
    decaying = AWAC(dataclasses.replace(CONFIG, actor_l2=0.1), SPEC)
    plain, more = (jax.grad(lambda actor, of=of: of.actor_loss(actor, batch, advantage, KEY)[0])(state.actor) for of in (agent, decaying))
    added = jax.tree.map(lambda a, b: np.asarray(a - b), more, plain)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, 0.1 * np.asarray(b), atol=1e-5), added, state.actor)


def test_the_baseline_may_be_the_policys_mean_and_the_target_is_held_within_the_returns_bounds(state, make_batch):
    agent = AWAC(dataclasses.replace(CONFIG, baseline="mean", clip_target=True), SPEC, Problem(return_low=-0.1, return_high=0.0))
    batch = make_batch(8)
    mean, _ = agent.regression.policy.apply(state.actor, batch.observation)
    expected = least(state.critic, batch.observation, batch.action) - least(state.critic, batch.observation, mean)
    np.testing.assert_allclose(agent.advantage(state, batch, KEY), expected, rtol=1e-4, atol=1e-4)
    target = np.asarray(agent.td_target(state, batch, KEY))
    assert target.min() >= np.float32(-0.1) and target.max() <= 0


@pytest.mark.parametrize(("setting", "value"), [("weighting", "none"), ("baseline", "median"), ("actor_l2", -1.0)])
def test_a_mistaken_setting_is_refused_by_name(setting, value):
    with pytest.raises(WarmloopError, match=f"agent.{setting}"):
        dataclasses.replace(CONFIG, **{setting: value})
