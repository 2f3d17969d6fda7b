"""The gripper beside SAC learns: the table of a small task, two grippers' joint commands, and what was demonstrated."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from warmloop.agents import GraspSAC, GraspSACConfig
from warmloop.agents.base import Problem
from warmloop.data.transition import Leaf, Source, Spec, example

SPEC = Spec((Leaf("", (5,), "float32"),), 3)
NUMBER = {"gripper_states": (4,), "gripper_open": 0.5, "gripper_closed": -0.5, "grasp_penalty": 0.2}
CONFIG = GraspSACConfig(hidden=(16,), ensemble=2, utd=2, batch_size=8, critic_layer_norm=False, **NUMBER)
KEY = jax.random.key(7)


def block_of(make_batch, count, rows, **fields):
    """The same rows, `count` times over."""
    batch = make_batch(rows, weight=np.ones(rows), actor_weight=np.ones(rows), **fields)
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), batch)


def test_the_values_of_a_small_task_become_its_table(make_batch):
    """Far from the cube (0), at it (1), or around it and closed (2), where holding is success; each command leads to one state."""
    following = {0: (0, 1, 0), 1: (1, 1, 2), 2: (1, 2, 2)}  # by command: open, hold, close
    reward, cost = {(2, 1): 1.0}, {(0, 2): 0.2, (1, 2): 0.2, (2, 0): 0.2}
    table = np.zeros((3, 3))
    for _ in range(200):
        for s, c in itertools.product(range(3), range(3)):
            table[s, c] = reward.get((s, c), 0.0) - cost.get((s, c), 0.0) + 0.8 * ((s, c) not in reward) * table[following[s][c]].max()

    seen = np.array([[3, 0, 0, 0, 1], [0, 3, 0, 0, 1], [0, 0, 3, 0, -1]], np.float32)
    pairs = list(itertools.product(range(3), range(3)))
    block = block_of(
        make_batch,
        100,
        9,
        observation=np.array([seen[s] for s, _ in pairs]),
        next_observation=np.array([seen[following[s][c]] for s, c in pairs]),
        action=np.array([[0.1, -0.2, c - 1] for _, c in pairs]),
        reward=np.array([reward.get(pair, 0.0) for pair in pairs]),
        mask=np.array([pair not in reward for pair in pairs]),
    )
    agent = GraspSAC(dataclasses.replace(CONFIG, hidden=(32,), critic_lr=3e-3, tau=0.05, utd=100), SPEC, Problem(discount=0.8))
    state, update = agent.init(jax.random.key(0), example(SPEC)), jax.jit(agent.update)
    for _ in range(12):
        state, _, _ = update(state, block)
    np.testing.assert_allclose(oracle.layers(state.grasp, seen, "output"), table, atol=0.03)


def test_two_grippers_learn_commands_that_only_together_are_good(make_batch):
    """The value of a joint command is no sum over the grippers: both have to do the same."""
    agent = GraspSAC(dataclasses.replace(CONFIG, grippers=(2, 0), critic_lr=1e-2, grasp_penalty=0.0, gripper_states=()), SPEC)
    joint = agent.commands
    reward = np.where(joint[:, 0] == joint[:, 1], 0.5 + 0.2 * joint[:, 0], -1.0)
    action = np.stack([joint[:, 1], np.zeros(9), joint[:, 0]], axis=-1)  # grippers are the numbers 2 and 0
    block = block_of(make_batch, 50, 9, observation=np.ones((9, 5)), action=action, reward=reward, mask=np.zeros(9))
    state, update = agent.init(jax.random.key(0), example(SPEC)), jax.jit(agent.update)
    for _ in range(8):
        state, _, _ = update(state, block)
    np.testing.assert_allclose(oracle.layers(state.grasp, np.ones((1, 5)), "output")[0], reward, atol=0.03)
    acted, _ = agent.act(agent.actor_params(state), jnp.ones(5), KEY, (), True)
    assert (float(acted[0]), float(acted[2])) == (1.0, 1.0)


@pytest.mark.long
def test_grippers_and_motions_are_cloned_from_demonstrations_alone(make_batch):
    """No reward and no return says which command is right; the margin does, and noise in them does not matter."""
    config = dataclasses.replace(
        CONFIG, hidden=(64,), bc_weight=30.0, initial_temperature=1e-3, actor_lr=1e-2, critic_lr=3e-3, grasp_penalty=0.0
    )
    agent, rng = GraspSAC(config, SPEC), np.random.default_rng(2)
    command = rng.integers(-1, 2, 12)
    action = np.stack([*rng.uniform(-0.8, 0.8, (2, 12)), np.clip(command + rng.uniform(-0.4, 0.4, 12), -1, 1)], axis=-1)
    fields = {"source": np.full(12, Source.DEMOS, np.int32), "offline": np.ones(12, bool), "reward": np.zeros(12)}
    block = block_of(make_batch, 1, 12, action=action, **fields)
    state, update = agent.init(jax.random.key(0), example(SPEC)), jax.jit(agent.update)
    metrics = {}
    for _ in range(200):
        state, metrics, _ = update(state, block)
    acted, _ = agent.act(agent.actor_params(state), block.observation[0], KEY, (), True)
    np.testing.assert_array_equal(acted[:, 2], command)
    assert float(metrics["grasp/agreement"]) == 1.0
    assert float(jnp.abs(acted[:, :2] - action[:, :2]).max()) < 0.15
