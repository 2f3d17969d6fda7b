"""BCQ against plain NumPy, the order of least, greatest and best in its target, and what it prefers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import two_arms

from warmloop.agents import BCQ, SAC, BCQConfig, SACConfig
from warmloop.agents.base import go_on
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Leaf, Spec, example

SPEC = Spec((Leaf("", (5,), "float32"),), 3)
CONFIG = BCQConfig(hidden=(16, 16), vae_hidden=(16, 16), utd=2, batch_size=8, vae_lr=0.01)
KEY = jax.random.key(7)
NETWORKS = ("vae", "perturbation", "target_perturbation", "critic", "target_critic")


@pytest.fixture(scope="module")
def agent():
    return BCQ(CONFIG, SPEC)


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


def both(observation, each):
    return np.concatenate([np.broadcast_to(observation[:, None], (*each.shape[:2], 5)), each], axis=-1)


def proposals(decoder, observation, key, count):
    latent = np.clip(np.asarray(jax.random.normal(key, (len(observation), count, 6))), -0.5, 0.5)
    return np.tanh(oracle.layers(decoder, both(observation, latent), "output"))


def perturbed(params, observation, action):
    return np.clip(action + 0.05 * np.tanh(oracle.layers(params, both(observation, action), "output")), -1, 1)


def critic(params, member, observation, action):
    """Q `[B]`, or `[B, N]` of N actions each."""
    if action.ndim == 2:
        return oracle.critic(params, member, observation, action, layer_norm=False)
    return np.stack([oracle.critic(params, member, observation, action[:, k], layer_norm=False) for k in range(action.shape[1])], 1)


def target_values(decoder, state, batch, key):
    action = perturbed(state.target_perturbation, batch.next_observation, proposals(decoder, batch.next_observation, key, 10))
    return np.stack([critic(state.target_critic, i, batch.next_observation, action) for i in range(2)])  # [E, B, N]


@pytest.mark.long
def test_the_models_loss_is_reconstruction_and_half_the_divergence_by_means_over_dims(state, stepped):
    batch, keys, _, metrics, _ = stepped
    code = oracle.layers(state.vae["encoder"], np.concatenate([batch.observation, batch.action], -1), "output")
    mean, log_std = code[:, :6], np.clip(code[:, 6:], -4, 15)
    latent = mean + np.exp(log_std) * np.asarray(jax.random.normal(keys[0], mean.shape))
    assert np.abs(latent).max() > 0.5  # training's latents are not clipped
    decoded = np.tanh(oracle.layers(state.vae["decoder"], np.concatenate([batch.observation, latent], -1), "output"))
    divergence = (-0.5 * (1 + 2 * log_std - mean**2 - np.exp(2 * log_std))).mean(-1)
    loss = ((decoded - batch.action) ** 2).mean(-1) + 0.5 * divergence
    np.testing.assert_allclose(metrics["vae/loss"], np.mean(batch.actor_weight * loss), rtol=1e-3)


def test_the_encoders_log_deviation_stays_within_its_bounds(agent, state, make_batch):
    head = state.vae["encoder"]["params"]["output"]

    def divergence(log_std):
        constant = {"kernel": jnp.zeros_like(head["kernel"]), "bias": jnp.concatenate([jnp.zeros(6), jnp.full(6, log_std)])}
        vae = state.vae | {"encoder": {"params": state.vae["encoder"]["params"] | {"output": constant}}}
        return float(agent.vae_loss(vae, make_batch(8), KEY)[1]["vae/divergence"])

    assert divergence(-9.0) == pytest.approx(-0.5 * (1 - 8 - np.exp(-8)), rel=1e-5)
    assert divergence(99.0) == pytest.approx(-0.5 * (1 + 30 - np.exp(30)), rel=1e-5)


@pytest.mark.parametrize("order", ["mixture of critics, then best action", "best action of each critic, then mixture", "least alone"])
def test_the_target_takes_the_best_action_after_mixing_the_critics(agent, state, make_batch, order):
    batch = plain(make_batch(8, mask=np.ones(8, np.float32)))
    q = target_values(state.vae["decoder"], state, batch, KEY)
    best = {
        "mixture of critics, then best action": (0.75 * q.min(0) + 0.25 * q.max(0)).max(-1),
        "best action of each critic, then mixture": 0.75 * q.max(-1).min(0) + 0.25 * q.max(-1).max(0),
        "least alone": q.min(0).max(-1),
    }[order]
    got = jax.jit(agent.td_target)(state, batch, KEY)
    assert np.allclose(got, batch.reward + 0.99 * best, rtol=1e-3, atol=1e-4) == (order == "mixture of critics, then best action")


@pytest.mark.parametrize("which", ["new", "old"])
def test_critics_learn_after_the_model_from_its_new_proposals(state, stepped, which):
    batch, keys, new, metrics, td_error = stepped
    decoder = (new if which == "new" else state).vae["decoder"]
    q = target_values(decoder, state, batch, keys[1])
    target = batch.reward + 0.99 * batch.mask * (0.75 * q.min(0) + 0.25 * q.max(0)).max(-1)
    error = np.stack([critic(state.critic, i, batch.observation, batch.action) for i in range(2)]) - target
    assert np.allclose(td_error, np.abs(error).mean(0), rtol=1e-3, atol=1e-3) == (which == "new")
    assert np.isclose(metrics["critic/loss"], np.mean(batch.weight * error**2), rtol=1e-3) == (which == "new")


def test_the_perturbation_climbs_the_new_first_critic_at_one_proposal(state, stepped):
    batch, keys, new, metrics, _ = stepped
    proposal_key, _ = jax.random.split(keys[3])
    action = perturbed(state.perturbation, batch.observation, proposals(new.vae["decoder"], batch.observation, proposal_key, 1))
    expected = -np.mean(batch.actor_weight * critic(new.critic, 0, batch.observation, action[:, 0]))
    np.testing.assert_allclose(metrics["actor/loss"], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("target", "online"), [("target_critic", "critic"), ("target_perturbation", "perturbation")])
def test_both_targets_move_last(state, stepped, target, online):
    new = stepped[2]
    expected = jax.tree.map(lambda a, b: 0.995 * a + 0.005 * b, getattr(state, target), getattr(new, online))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), getattr(new, target), expected)


def test_perturbed_actions_change_by_phi_at_most_and_stay_in_range(agent, state, make_batch):
    action = jnp.linspace(-1, 1, 24).reshape(8, 1, 3)
    wild = jax.tree.map(lambda x: 30.0 * x, state.perturbation)
    changed = np.asarray(agent.perturb(wild, make_batch(8).observation, action))
    assert np.abs(changed).max() <= 1 and np.abs(changed - action).max() <= 0.05 + 1e-6
    assert np.abs(changed - action).max() > 0.04


def test_a_terminal_rows_target_is_its_reward(agent, state, make_batch):
    batch = make_batch(8, mask=np.zeros(8, np.float32), truncated=np.ones(8, bool))
    np.testing.assert_array_equal(jax.jit(agent.td_target)(state, batch, KEY), batch.reward)


def test_acting_takes_the_best_of_a_hundred_proposals_by_the_first_critic(agent, state, make_batch):
    observation = np.asarray(make_batch(4).observation)
    act = jax.jit(lambda o: agent.act(agent.actor_params(state), o, KEY, ())[0])
    for row in observation:
        action = perturbed(state.perturbation, row[None], proposals(state.vae["decoder"], row[None], KEY, 100))
        best = critic(state.critic, 0, row[None], action)[0].argmax()
        np.testing.assert_allclose(act(row), action[0, best], rtol=1e-3, atol=1e-4)


def test_deterministic_actions_do_not_depend_on_the_key(agent, state, make_batch):
    row = make_batch(1).observation[0]
    act = jax.jit(lambda key, deterministic: agent.act(agent.actor_params(state), row, key, (), deterministic)[0], static_argnums=1)
    first, second = jax.random.split(KEY)
    np.testing.assert_array_equal(act(first, True), act(second, True))
    assert not np.array_equal(act(first, False), act(second, False))


def test_actors_get_what_acting_needs_and_nothing_else(agent, state):
    sent = agent.actor_params(state)
    jax.tree.map(np.testing.assert_array_equal, sent.decoder, state.vae["decoder"])
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[:1]), sent.critic, state.critic)
    assert set(vars(sent)) == {"decoder", "perturbation", "critic", "normaliser"}


@pytest.mark.long
def test_it_prefers_the_better_of_two_demonstrated_actions_and_its_model_does_not():
    config = BCQConfig(hidden=(32, 32), vae_hidden=(32, 32), utd=100, tau=0.05, actor_lr=3e-3, critic_lr=3e-3, vae_lr=3e-3)
    agent = BCQ(config, two_arms.SPEC)
    state = two_arms.trained(agent)
    assert float(agent.propose(state.vae["decoder"], two_arms.STATES, KEY, 100).mean()) < 0.0
    assert (two_arms.actions(agent, state) > 0.2).all()


def test_neither_handing_over_nor_taking_over_makes_sense(agent, state):
    sac = SAC(SACConfig(hidden=(16, 16)), SPEC)
    with pytest.raises(WarmloopError, match="SAC cannot go on from BCQ's warm-up"):
        go_on(sac, agent, state)
    with pytest.raises(WarmloopError, match="BCQ cannot go on from SAC's warm-up"):
        go_on(agent, sac, state)
    assert go_on(agent, agent, state) is state


@pytest.mark.parametrize(("wrong", "names"), [({"min_share": 1.5}, "min_share"), ({"acting_proposals": 0}, "acting_proposals")])
def test_a_wrong_setting_is_refused_by_name(wrong, names):
    with pytest.raises(WarmloopError, match=names):
        dataclasses.replace(CONFIG, **wrong)
