"""The gripper beside SAC: commands, penalties, and the grasp critic against tables and loops in NumPy."""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from warmloop.agents import BC, SAC, BCConfig, GraspSAC, GraspSACConfig, SACConfig
from warmloop.agents.base import Problem
from warmloop.agents.networks.vision import VisionConfig
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Batch, Leaf, Source, Spec, example

SPEC = Spec((Leaf("", (5,), "float32"),), 3)
NUMBER = {"gripper_states": (4,), "gripper_open": 0.5, "gripper_closed": -0.5, "grasp_penalty": 0.2}
CONFIG = GraspSACConfig(hidden=(16,), ensemble=2, utd=2, batch_size=8, critic_layer_norm=False, **NUMBER)
CLONING = dataclasses.replace(CONFIG, bc_weight=1.0, grasp_margin=0.5)
TWO = {"grippers": (2, 0), "gripper_states": (4, 3)}
KEY = jax.random.key(7)


@pytest.fixture(scope="module")
def agent():
    return GraspSAC(CONFIG, SPEC)


@pytest.fixture(scope="module")
def two_arms():
    return GraspSAC(dataclasses.replace(CONFIG, **TWO), SPEC)


def shaken_state(agent, shaken):
    """A state whose grasp critic and its target differ, and whose values are far from zero."""
    state = agent.init(jax.random.key(0), example(SPEC))
    return state.replace(grasp=shaken(state.grasp, 1, 1.0), target_grasp=shaken(state.grasp, 2, 1.0))


@pytest.fixture(scope="module")
def state(agent, shaken):
    return shaken_state(agent, shaken)


def values(params, observation):
    return oracle.layers(params, observation, "output")


def nearest(action, grippers):
    """The joint command of one action, by comparing it with every one."""
    commands = list(itertools.product((-1, 0, 1), repeat=len(grippers)))
    return int(np.argmin([sum((action[g] - c) ** 2 for g, c in zip(grippers, command, strict=True)) for command in commands]))


@pytest.mark.parametrize("which", ["agent", "two_arms"])
def test_a_recorded_action_counts_as_the_nearest_of_three_or_nine_commands(which, request):
    agent = request.getfixturevalue(which)
    action = np.random.default_rng(0).uniform(-1.3, 1.3, (200, 3)).astype(np.float32)
    expected = [nearest(row, agent.grippers) for row in action]
    np.testing.assert_array_equal(agent.command(action), expected)
    assert set(expected) == set(range(3 ** len(agent.grippers)))


@pytest.mark.parametrize("which", ["agent", "two_arms"])
def test_the_penalty_is_for_each_gripper_that_is_turned(which, request):
    agent = request.getfixturevalue(which)
    rng = np.random.default_rng(1)
    observation = rng.normal(size=(60, 5)).astype(np.float32)
    batch = example(SPEC, 60).replace(observation=observation, action=rng.uniform(-1, 1, (60, 3)).astype(np.float32))
    expected = []
    for row, action in zip(observation, batch.action, strict=True):
        turned = 0
        for place, number in zip(agent.grippers, agent.config.gripper_states, strict=True):
            closed = row[number] < 0
            turned += (action[place] < -0.5 and closed) or (action[place] > 0.5 and not closed)
        expected.append(0.2 * turned)
    np.testing.assert_allclose(agent.penalty(batch), expected, rtol=1e-6)
    assert len({round(cost, 3) for cost in expected}) == len(agent.grippers) + 1


def double_dqn(agent, state, batch):
    """The target by loops, its penalty left out, and what it would be if the target copy also chose."""
    observation = np.asarray(batch.next_observation)
    online, target = values(state.grasp, observation), values(state.target_grasp, observation)
    rows = zip(np.asarray(batch.reward), np.asarray(batch.mask), online, target, strict=True)
    found = [(r + 0.99 * m * q_target[int(np.argmax(q))], r + 0.99 * m * max(q_target)) for r, m, q, q_target in rows]
    return np.array(found).T


@pytest.mark.parametrize("which", ["agent", "two_arms"])
def test_the_online_critic_chooses_the_next_command_and_the_target_copy_values_it(which, request, make_batch, shaken):
    agent = request.getfixturevalue(which)
    state, batch = shaken_state(agent, shaken), make_batch(32, mask=np.ones(32))
    expected, plain = double_dqn(agent, state, batch)
    got = np.asarray(agent.grasp_target(state, batch)) + np.asarray(agent.penalty(batch))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(expected - plain).max() > 0.3, "a target that chooses for itself is another one"


def test_the_return_is_bounded_without_the_penalty(agent, state, make_batch):
    bounded = dataclasses.replace(CONFIG, clip_target=True, monte_carlo_target=True)
    batch = make_batch(64, mc_return=np.random.default_rng(0).choice([-np.inf, 0.3], 64))
    penalty = agent.penalty(batch)
    free = agent.grasp_target(state, batch) + penalty
    expected = np.clip(np.maximum(free, batch.mc_return), 0.0, 0.5) - penalty
    got = np.asarray(GraspSAC(bounded, SPEC, Problem(return_low=0.0, return_high=0.5)).grasp_target(state, batch))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert got.min() < 0


def test_the_target_of_a_terminal_step_is_its_reward_less_the_penalty(agent, state, make_batch):
    batch = make_batch(8, mask=np.zeros(8))
    np.testing.assert_allclose(agent.grasp_target(state, batch), batch.reward - agent.penalty(batch), rtol=1e-6)


def test_the_loss_is_the_weighted_squared_error_and_the_margin_over_demonstrations(state, make_batch):
    source = np.array([Source.DEMOS, Source.RANDOM, *[Source.ONLINE] * 6], np.int32)
    batch = make_batch(8, source=source, offline=np.arange(8) < 2, intervened=np.arange(8) == 3)
    target = np.linspace(-1, 1, 8).astype(np.float32)
    agent = GraspSAC(CLONING, SPEC)
    loss, (metrics, td_error) = agent.grasp_loss(state.grasp, batch.observation, batch, target, jnp.asarray(0.7))
    q = values(state.grasp, np.asarray(batch.observation))
    command = [nearest(action, (2,)) for action in np.asarray(batch.action)]
    error = np.array([q[row, command[row]] - target[row] for row in range(8)])
    margin = {row: max(q[row, c] + 0.5 * (c != command[row]) for c in range(3)) - q[row, command[row]] for row in (0, 3)}
    cloning = np.mean([float(batch.actor_weight[row]) * short for row, short in margin.items()])
    np.testing.assert_allclose(td_error, np.abs(error), rtol=1e-4)
    np.testing.assert_allclose(metrics["grasp/cloning_loss"], cloning, rtol=1e-4)
    np.testing.assert_allclose(metrics["grasp/agreement"], np.mean([np.argmax(q[row]) == command[row] for row in margin]))
    np.testing.assert_allclose(loss, np.mean(np.asarray(batch.weight) * error**2) + 0.7 * cloning, rtol=1e-4)


def test_the_arm_learns_as_under_sac_without_grippers(agent, state, make_batch):
    batch = make_batch(8)
    after, (_, td_error) = jax.jit(agent.critic_step)(state, (batch, KEY))
    sac, (_, arm_error) = jax.jit(agent.sac.critic_step)(state.sac, (batch.replace(action=batch.action[:, :2]), KEY))
    for part in ("critic", "target_critic", "critic_optimizer", "actor"):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), getattr(after.sac, part), getattr(sac, part))
    polyak = jax.tree.map(lambda old, new: 0.995 * old + 0.005 * new, state.target_grasp, after.grasp)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), after.target_grasp, polyak)
    q = values(state.grasp, np.asarray(batch.observation))
    command = [nearest(action, (2,)) for action in np.asarray(batch.action)]
    grasp_error = np.abs(q[np.arange(8), command] - np.asarray(agent.grasp_target(state, batch)))
    np.testing.assert_allclose(td_error, (np.asarray(arm_error) + grasp_error) / 2, rtol=1e-3, atol=1e-5)


def test_the_update_of_the_policy_leaves_the_grasp_critic_to_its_own_steps(agent, state, make_batch):
    block = make_batch(2, 8)
    after, _, td_error = jax.jit(agent.update)(state, block)
    assert td_error.shape == (2, 8)
    counts = (after.grasp_optimizer, after.sac.critic_optimizer, after.sac.actor_optimizer)
    assert [int(moments[0].count) for moments in counts] == [2, 2, 1]
    stepped, step = state, jax.jit(agent.critic_step)
    for row in range(2):  # the grasp critic draws nothing at random
        stepped, _ = step(stepped, (jax.tree.map(lambda x, row=row: x[row], block), KEY))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), after.grasp, stepped.grasp)


@pytest.mark.parametrize("which", ["agent", "two_arms"])
def test_the_mode_is_the_best_command_and_samples_are_now_and_then_any_other(which, request, shaken):
    agent = request.getfixturevalue(which)
    agent = GraspSAC(dataclasses.replace(agent.config, grasp_epsilon=0.5), SPEC)
    actor, observation = agent.actor_params(shaken_state(agent, shaken)), jnp.asarray([0.3, -1.0, 0.5, 0.1, 0.8])
    best = int(np.argmax(values(actor.params["grasp"], np.asarray(observation))))
    act = jax.jit(
        jax.vmap(lambda key, deterministic: agent.act(actor, observation, key, (), deterministic)[0], (0, None)), static_argnums=1
    )
    keys = jax.random.split(KEY, 2_000)
    assert set(np.asarray(agent.command(act(keys, True))).tolist()) == {best}
    sampled, number = act(keys, False), 3 ** len(agent.grippers)
    assert set(np.unique(sampled[:, jnp.array(agent.grippers)]).tolist()) == {-1.0, 0.0, 1.0}
    share = np.bincount(np.asarray(agent.command(sampled)), minlength=number) / 2_000
    expected = np.full(number, 0.5 / number)
    expected[best] += 0.5
    np.testing.assert_allclose(share, expected, atol=0.04)


def test_an_actions_numbers_stand_where_the_environment_has_them(two_arms, shaken):
    state, observation = shaken_state(two_arms, shaken), jnp.asarray([0.3, -1.0, 0.5, 0.1, 0.8])
    actor = two_arms.actor_params(state)
    acted, _ = two_arms.act(actor, observation, KEY, (), True)
    arm, _ = two_arms.sac.act(two_arms.sac.actor_params(state.sac), observation, KEY, (), True)
    first, second = two_arms.commands[int(np.argmax(values(state.grasp, np.asarray(observation))))]
    np.testing.assert_allclose(acted, [second, arm[0], first], rtol=1e-6)


def test_the_commands_probabilities_add_up_to_one(agent, state, make_batch):
    batch, actor = make_batch(8), agent.actor_params(state)
    arm = agent.sac.log_prob(agent.sac.actor_params(state.sac), batch.observation, batch.action[:, :2])
    shares = [agent.log_prob(actor, batch.observation, batch.action.at[:, 2].set(c)) - arm for c in (-1.0, 0.0, 1.0)]
    np.testing.assert_allclose(np.exp(shares).sum(axis=0), 1.0, rtol=1e-4)
    assert np.exp(shares).max() > 0.98


@pytest.mark.long
def test_both_critics_train_the_encoder_of_images():
    spec = Spec((Leaf("front", (8, 8, 3), "uint8"), Leaf("pose", (2,), "float32")), 3)
    config = GraspSACConfig(hidden=(8,), ensemble=2, utd=1, batch_size=4, bc_weight=1.0, vision=VisionConfig(features=4, channels=(4,)))
    agent, rng = GraspSAC(config, spec), np.random.default_rng(0)
    pixels = {"front": jnp.asarray(rng.integers(0, 255, (4, 8, 8, 3), np.uint8)), "pose": jnp.ones((4, 2))}
    rows = example(spec, 4).replace(observation=pixels, next_observation=pixels)
    state = agent.init(jax.random.key(0), rows)
    fields = {name: getattr(rows, name) for name in rows.__dataclass_fields__}
    batch = Batch(**fields, weight=jnp.zeros(4), actor_weight=jnp.ones(4), offline=jnp.zeros(4, bool))
    batch = jax.tree.map(jnp.asarray, batch)

    step = jax.jit(agent.critic_step)

    def moved(batch):  # rows of no weight teach no values, which leaves the margin
        after, _ = step(state, (batch, KEY))
        changes = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), state.sac.encoder, after.sac.encoder)
        return max(jax.tree.leaves(changes))

    assert moved(batch) == 0
    assert moved(batch.replace(intervened=jnp.ones(4, bool))) > 0
    assert moved(batch.replace(weight=jnp.ones(4), reward=jnp.ones(4))) > 0


def test_a_cloned_policy_goes_on_as_the_arms(two_arms):
    bc = BC(BCConfig(hidden=(16,)), SPEC)
    rows = example(SPEC, 6).replace(observation=np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32))
    state = bc.init(jax.random.key(3), rows)
    taken = two_arms.take_over(bc.hand_over(state))
    assert jax.tree.structure(taken) == jax.tree.structure(two_arms.init(KEY, rows))
    cloned, _ = bc.act(bc.actor_params(state), rows.observation, KEY, (), True)
    acted, _ = two_arms.act(two_arms.actor_params(taken), rows.observation, KEY, (), True)
    np.testing.assert_allclose(acted[:, 1], cloned[:, 1], atol=1e-6)
    assert np.ptp(np.asarray(cloned[:, 1])) > 1e-4
    sac = SAC(SACConfig(hidden=(16,), ensemble=2), SPEC)
    assert jax.tree.structure(two_arms.take_over(sac.hand_over(sac.init(KEY, rows)))) == jax.tree.structure(taken)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"grippers": (3,)}, r"agent.grippers is \(3,\) and actions have 3 numbers"),
        ({"grippers": (-1, 2), "gripper_states": (1, 2)}, "name each gripper's own"),
        ({"grippers": (0, 1, 2), "gripper_states": (1, 2, 3)}, "leave one for the arm"),
        ({"grippers": (), "gripper_states": ()}, "name each gripper's own"),
        ({"gripper_states": ()}, "names 0 of the observation's numbers for 1 grippers"),
        ({"gripper_states": (5,)}, "observations have the numbers 0 to 4"),
        ({"grasp_epsilon": 0.0}, "grasp_epsilon"),
        ({"grasp_penalty": -0.02}, "grasp_penalty"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(wrong, says):
    with pytest.raises(WarmloopError, match=says):
        GraspSAC(dataclasses.replace(CONFIG, **wrong), SPEC)


def test_the_presets_penalty_is_the_one_that_gym_hil_reports():
    pytest.importorskip("gym_hil", reason="gym-hil is not installed (extra [robotics])")
    from warmloop.actor.environment.environment import make_environment
    from warmloop.configs import load
    from warmloop.configs.schema import build_agent

    config = load("configs/gym_hil.py:pick-cube,grasp")
    environment = make_environment(dataclasses.replace(config.environment, wrappers=("gripper_penalty:-0.02",)))
    agent: Any = build_agent(config.agent, config.reward, environment.spec)
    observation, charged, reported = environment.reset(0), [], []
    for command in (-1, 1, 0, 1, -1, 0, 1):
        action = np.array([0, 0, 0, command], np.float32)
        batch = example(environment.spec).replace(observation=jax.tree.map(lambda x: x[None], observation), action=action[None])
        charged.append(float(agent.penalty(batch)[0]))
        result = environment.step(action)
        observation = result.next_observation
        reported.append(-result.info["grasp_penalty"])
    environment.close()
    np.testing.assert_allclose(charged, reported, atol=1e-6)
    np.testing.assert_allclose(reported, [0, 0.02, 0, 0, 0.02, 0, 0.02])
