"""Dreamer learns from what is there and from nothing else, imagines what comes, and remembers what it did."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blocks import assert_same, sequences_of

from warmloop.agents import AGENTS, Dreamer, DreamerConfig
from warmloop.agents.base import Problem, Remembers
from warmloop.agents.dreamer import Memory
from warmloop.agents.models.dreaming.observation_coders import halvings, picture_shape, pictures_of
from warmloop.agents.models.dreaming.symexp_two_hot import mean_of
from warmloop.agents.models.symlog import symlog
from warmloop.agents.shared.arriving_states import arriving
from warmloop.configs.recipes.machine import SPARSE
from warmloop.configs.schema import AgentChoice, build_agent
from warmloop.data.errors import WarmloopError
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Leaf, Spec, example
from warmloop.learner.judging import fqe, heldout
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import run_many

KEY = jax.random.key(7)
ONE = Spec((Leaf("", (1,), "float32"),), 1)
TINY = {"hidden": (16,), "groups": 4, "length": 4, "batch_size": 3, "imagined_steps": 3}
THERE = [[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]  # rows of windows
SEEING = Spec((Leaf("front", (16, 16, 3), "uint8"), Leaf("joints", (2,), "float32"), Leaf("wrist", (16, 16), "uint8")), 1)


def one_dimensional(batch):
    """A batch of `blocks` with the observations and the actions of `ONE`."""
    seen = {name: getattr(batch, name)["pose"][..., :1] for name in ("observation", "next_observation")}
    return batch.replace(**seen, action=batch.action[..., :1])


@pytest.fixture(scope="module")
def tiny():
    """An agent, its state with heads that say something, a batch, and the compiled loss with its gradient."""
    agent = Dreamer(DreamerConfig(**TINY), ONE, Problem(0.9))
    state = agent.init(KEY, example(ONE))
    leaves, structure = jax.tree.flatten(state.trained)
    keys = jax.random.split(KEY, len(leaves))
    trained = jax.tree.unflatten(structure, [x + 0.1 * jax.random.normal(key, x.shape) for x, key in zip(leaves, keys, strict=True)])
    grad = jax.jit(jax.value_and_grad(agent.loss, has_aux=True))
    return agent, state.replace(trained=trained), one_dimensional(sequences_of(3, length=4)), grad


def test_rows_make_states_each_with_the_action_before_it_and_the_reward_that_came_with_it():
    batch = one_dimensional(sequences_of(3, length=4)).replace(step=jnp.asarray(np.arange(3)[:, None] + np.arange(4)))
    states = arriving(batch.replace(valid=jnp.array(THERE, bool)))
    np.testing.assert_array_equal(states.observation[:, 0], batch.observation[:, 0])
    np.testing.assert_array_equal(states.observation[:, 1:], batch.next_observation)
    np.testing.assert_array_equal(states.action[:, :, 0], np.pad(batch.action[:, :, 0], ((0, 0), (1, 0))))
    np.testing.assert_array_equal(states.reward, np.pad(batch.reward, ((0, 0), (1, 0))))
    np.testing.assert_array_equal(states.there, [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    np.testing.assert_array_equal(states.known[:, 0], [1, 0, 0])  # the first one's episode begins with it
    np.testing.assert_array_equal(states.followed, [[1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [1, 0, 0, 0, 0]])


@pytest.mark.long
def test_what_lies_behind_an_episodes_end_changes_no_bit(tiny):
    _, state, batch, grad = tiny
    batch = batch.replace(valid=jnp.array(THERE, bool))

    def spoilt(x):
        rows = batch.valid.reshape(3, 4, *(1,) * (x.ndim - 2))
        return jnp.where(rows, x, jnp.asarray(7, x.dtype))

    changed = ("observation", "next_observation", "action", "reward", "mask", "step")
    other = batch.replace(**{name: spoilt(getattr(batch, name)) for name in changed})
    assert_same(grad(state.trained, state, batch, KEY), grad(state.trained, state, other, KEY))


def test_a_window_of_weight_0_moves_nothing_but_the_average(tiny):
    _, state, batch, grad = tiny
    nothing = batch.replace(weight=jnp.zeros(3), actor_weight=jnp.zeros(3))
    assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(grad(state.trained, state, nothing, KEY)[1]))


@pytest.mark.long
def test_imagination_moves_the_policy_and_the_critic_alone_and_recorded_rewards_the_model_too(tiny):
    agent, state, batch, _ = tiny

    @jax.jit
    def gradients(trained):
        states = arriving(batch)
        latent, _, _ = agent.model_loss(trained, state, states, KEY)

        def imagined(trained):
            losses, *_ = agent.behaviour_loss(trained, state, latent, states.there, KEY)
            return losses["actor"].sum() + losses["critic"].sum()

        def replayed(trained):
            latent, _, _ = agent.model_loss(trained, state, states, KEY)
            return agent.replay_loss(trained, state, states, latent, jnp.zeros((3, 5)))[0].sum()

        return jax.grad(imagined)(trained), jax.grad(replayed)(trained)

    def moved(gradient):
        return {name for name, tree in gradient.items() if any(np.any(leaf) for leaf in jax.tree.leaves(tree))}

    by_dreams, by_rows = gradients(state.trained)
    assert moved(by_dreams) == {"policy", "critic"}
    assert moved(by_rows) == {"encoder", "rssm", "critic"}


def test_acting_remembers_and_goes_on_from_the_action_that_was_done(tiny):
    agent, state, _, _ = tiny
    actor, act = agent.actor_params(state), jax.jit(agent.act, static_argnames="deterministic")
    assert set(actor.networks) == {"encoder", "rssm", "policy"}
    action, memory = act(actor, jnp.array([0.3]), KEY, (), deterministic=True)
    assert isinstance(agent, Remembers) and isinstance(memory, Memory)
    np.testing.assert_array_equal(memory.action, action)
    own, _ = act(actor, jnp.array([0.5]), KEY, memory, deterministic=True)
    new, _ = act(actor, jnp.array([0.5]), KEY, (), deterministic=True)
    taken_over, _ = act(actor, jnp.array([0.5]), KEY, agent.remember(memory, jnp.array([-1.0])), deterministic=True)
    same, _ = act(actor, jnp.array([0.5]), KEY, agent.remember(memory, action), deterministic=True)
    assert len({float(own[0]), float(new[0]), float(taken_over[0])}) == 3
    np.testing.assert_array_equal(own, same)


@pytest.mark.long
def test_an_actor_follows_an_episode_as_training_does(tiny):
    agent, state, batch, _ = tiny
    states = arriving(batch)
    seen = agent.networks.inputs(state.normaliser, states.observation)
    latent, posterior, _ = agent.networks.follow(state.trained, seen, states.action, KEY)
    for step in range(1, 4):  # from the state before, whatever was drawn
        before = jax.tree.map(lambda x, step=step: x[:, step - 1], latent)
        now = agent.networks.observed(state.trained, (before, states.action[:, step]), (seen[0][:, step], None), None)
        np.testing.assert_allclose(now.deter, latent.deter[:, step], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(now.stoch.argmax(-1), posterior[:, step].argmax(-1))


def test_values_and_rewards_begin_at_exactly_nothing():
    agent = Dreamer(DreamerConfig(**TINY), ONE)
    state = agent.init(KEY, example(ONE))
    features = jax.random.normal(KEY, (5, 16 * 8 + 4 * 2))
    for name in ("reward", "critic"):
        assert (np.asarray(mean_of(agent.networks.head(name, state.trained, features))) == 0).all()
    mean, deviation = agent.networks.action(state.trained, features)
    assert (np.asarray(deviation) <= 1).all() and (np.asarray(deviation) >= 0.1).all() and (np.abs(mean) < 0.2).all()


@pytest.mark.parametrize(("units", "deter", "classes", "depth"), [(64, 512, 4, 4), (256, 2048, 16, 16), (1024, 8192, 64, 64)])
def test_one_width_gives_the_published_sizes(units, deter, classes, depth):
    config = DreamerConfig(hidden=(units,) * 3)
    assert (config.deter, config.classes, config.depth) == (deter, classes, depth)


# The model and the values of a task that can be written down.

GAMMA = 0.8


def alternating(episodes=20, length=24):
    """Episodes that go back and forth between two places; whoever arrives at the upper one gets 1. Actions do nothing."""
    place = np.tile(np.where(np.arange(length) % 2 == 0, 1.0, -1.0).astype(np.float32), episodes)[:, None]
    rng, count = np.random.default_rng(0), episodes * length
    step = np.tile(np.arange(length, dtype=np.int32), episodes)
    return example(ONE, count).replace(
        observation=place,
        next_observation=-place,
        action=rng.uniform(-1, 1, (count, 1)).astype(np.float32),
        reward=(place[:, 0] < 0).astype(np.float32),
        truncated=step == length - 1,
        step=step,
        episode=np.repeat(np.arange(episodes, dtype=np.int32), length),
        quality=np.full(count, 0.5, np.float32),
    )


@pytest.mark.slow
def test_it_predicts_a_system_open_loop_and_has_its_analytic_values():
    sizes: dict = {"hidden": (16,), "groups": 8, "length": 8, "batch_size": 8, "imagined_steps": 8}
    config = DreamerConfig(**sizes, learning_rate=3e-3, learning_rate_warmup=20, slow_rate=0.1)
    agent = Dreamer(config, ONE, Problem(GAMMA))
    parts = LearnerParts(agent, ReplayConfig(capacity=1, alpha=0.6, quality_in="loss"), MixingConfig())
    state, metrics = run_many(create(parts, 0, alternating()), parts, 300)
    state, networks = state.agent, agent.networks
    assert metrics["model/reconstruction_loss"] < 0.02
    seen = networks.inputs(state.normaliser, jnp.array([[[1.0], [-1.0], [1.0], [-1.0]]]))
    latent, _, _ = networks.follow(state.trained, seen, jnp.zeros((1, 4, 1)), KEY)
    last = jax.tree.map(lambda x: x[:, -1], latent)
    dreamt, _ = networks.dream(state.trained, last, 15, KEY)
    decoded, _ = networks.decoder.apply(state.trained["decoder"], dreamt)
    expected = np.asarray(symlog(state.normaliser(np.where(np.arange(16) % 2 == 0, -1.0, 1.0).astype(np.float32)[:, None])))
    assert np.abs(np.asarray(decoded[:, 0]) - expected).mean() < 0.1 and (np.sign(decoded[:, 0]) == np.sign(expected)).all()
    reward = mean_of(networks.head("reward", state.trained, dreamt.features))[:, 0]
    assert np.abs(reward - np.arange(16) % 2).mean() < 0.05  # of all samples 1 % are drawn evenly, so that some are off
    upper, lower = GAMMA / (1 - GAMMA**2), 1 / (1 - GAMMA**2)
    value = mean_of(networks.head("critic", state.trained, dreamt.features))[:, 0]
    assert np.abs(value - np.where(np.arange(16) % 2 == 0, lower, upper)).mean() < 0.1


# Cameras.


@pytest.mark.long
def test_it_learns_from_cameras_beside_numbers():
    agent = Dreamer(DreamerConfig(**TINY | {"length": 2}), SEEING)
    state = agent.init(KEY, example(SEEING))
    batch, rng = sequences_of(3, length=2), np.random.default_rng(0)

    def observation():
        lead, pixels = (3, 2), {leaf.name: rng.integers(0, 256, (3, 2, *leaf.shape)).astype(np.uint8) for leaf in SEEING.cameras}
        return pixels | {"joints": rng.normal(size=(*lead, 2)).astype(np.float32)}

    batch = batch.replace(observation=observation(), next_observation=observation(), action=batch.action[..., :1])
    gradient, (metrics, td_error, _) = jax.jit(jax.grad(agent.loss, has_aux=True))(state.trained, state, batch, KEY)
    assert np.isfinite(td_error).all() and all(np.isfinite(value) for value in metrics.values())
    layers = gradient["encoder"]["params"]["conv_0"]["kernel"], gradient["decoder"]["params"]["picture"]["kernel"]
    assert [layer.shape[-1] for layer in layers] == [8, 4] and all(np.abs(layer).max() > 0 for layer in layers)
    action, _ = agent.act(agent.actor_params(state), jax.tree.map(lambda x: x[0, 0], batch.observation), KEY, ())
    assert action.shape == (1,)


def test_pictures_lie_over_each_other_with_their_stacks():
    spec = Spec((Leaf("a", (2, 8, 8, 3), "uint8"), Leaf("b", (2, 8, 8, 1), "uint8")), 1)
    images = {leaf.name: np.random.default_rng(0).integers(0, 256, (5, *leaf.shape)).astype(np.uint8) for leaf in spec.cameras}
    picture = np.asarray(pictures_of(spec, images))
    assert picture.shape[1:] == picture_shape(spec) == (8, 8, 8)
    np.testing.assert_allclose(picture[2, 3, 4, :6], images["a"][2, :, 3, 4, :].ravel() / 255, rtol=1e-6)
    np.testing.assert_allclose(picture[2, 3, 4, 6:], images["b"][2, :, 3, 4, 0] / 255, rtol=1e-6)


@pytest.mark.parametrize(("size", "times"), [((64, 64), 4), ((128, 128), 4), ((32, 48), 3), ((84, 84), 2), ((7, 7), 0)])
def test_pictures_are_halved_while_they_can_be(size, times):
    assert halvings(*size) == times


@pytest.mark.parametrize(
    ("shapes", "says"),
    [([(84, 84, 3)], r"have 84×84; take the wrapper resize:64"), ([(32, 32, 3), (64, 64, 3)], "their sizes differ"), ([(7, 7, 3)], "7×7")],
)
def test_pictures_of_other_sizes_are_refused(shapes, says):
    spec = Spec(tuple(Leaf(f"camera_{number}", shape, "uint8") for number, shape in enumerate(shapes)), 1)
    with pytest.raises(WarmloopError, match=says):
        Dreamer(DreamerConfig(**TINY), spec).init(KEY, example(spec))


def test_cameras_are_for_the_algorithms_that_see_them():
    assert build_agent(AgentChoice("dreamer", DreamerConfig()), RewardConfig(), SEEING).spec == SEEING
    with pytest.raises(WarmloopError, match=r"dreamer, or an environment without cameras"):
        build_agent(AgentChoice("iql", AGENTS["iql"][1]()), RewardConfig(), SEEING)
    assert build_agent(AgentChoice("sac", SPARSE), RewardConfig(), SEEING).spec == SEEING


# What is judged by single rows.


def test_it_is_not_judged_by_single_rows(tiny):
    agent, state, batch, _ = tiny
    assert heldout.measures(agent, state, batch) == {}
    with pytest.raises(WarmloopError, match="these policies remember what they saw before: compare them in the environment"):
        fqe.estimates([(agent, agent.actor_params(state))], [], fqe.FQEConfig(), 0.9, 0)


@pytest.mark.parametrize("wrong", [{"length": 0}, {"trace_decay": 1.1}, {"hidden": (64, 0)}])
def test_settings_out_of_their_range_are_refused(wrong):
    with pytest.raises(WarmloopError, match=f"agent.{next(iter(wrong))} is"):
        dataclasses.replace(DreamerConfig(), **wrong)
