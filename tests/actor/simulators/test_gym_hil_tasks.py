"""gym-hil's tasks: seeded, drawn only on demand, with gym-hil's own physics; and their experts."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from warmloop.actor.environment.environment import Environment, EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import run_episode
from warmloop.actor.policies.experts import scripted_policy
from warmloop.actor.policies.policy import NoisyPolicy, RandomPolicy
from warmloop.actor.simulators.gym_hil_tasks import ARRANGE_BOXES, PICK_CUBE
from warmloop.actor.simulators.operational_space import OperationalSpace
from warmloop.data.errors import WarmloopError
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Leaf

pytestmark = pytest.mark.long

pytest.importorskip("gym_hil", reason="gym-hil is not installed (extra [robotics])")

PICTURES = {"image_obs": True, "shadows": False}


@pytest.fixture(scope="module")
def pick() -> Environment:
    return make_environment(EnvironmentConfig(PICK_CUBE), RewardConfig())


@pytest.fixture(scope="module")
def arrange() -> Environment:
    return make_environment(EnvironmentConfig(ARRANGE_BOXES, horizon=300), RewardConfig())


def steps_of(environment: Environment, seed: int):
    return run_episode(environment, RandomPolicy(4), seed).steps


def assert_same(steps, others):
    for name in ("agent_pos", "environment_state"):
        np.testing.assert_array_equal(steps.next_observation[name], others.next_observation[name])
    np.testing.assert_array_equal(steps.reward, others.reward)


def test_a_seed_decides_the_whole_episode_and_leaves_numpys_generator_alone(pick):
    np.random.seed(5)
    first = steps_of(pick, 7)
    drawn = np.random.random()
    other, again = steps_of(pick, 8), steps_of(pick, 7)
    assert_same(first, again)
    assert not np.array_equal(first.observation["environment_state"][0], other.observation["environment_state"][0])
    np.random.seed(5)
    assert np.random.random() == drawn


def test_a_seed_means_the_same_in_a_fresh_environment(pick, arrange):
    for environment, horizon in ((pick, 0), (arrange, 300)):
        fresh = make_environment(EnvironmentConfig(environment.config.id, horizon=horizon), RewardConfig())
        assert_same(steps_of(environment, 3), steps_of(fresh, 3))
        fresh.close()


def test_resets_without_a_seed_follow_from_the_last_one(pick):
    def cubes():
        return [pick.env.reset(seed=seed)[0]["environment_state"][:2] for seed in (4, None, None)]

    first = cubes()
    np.testing.assert_array_equal(first, cubes())
    assert len({tuple(cube) for cube in first}) == 3


def test_cubes_lie_all_over_their_range_unless_asked_to_lie_still(pick):
    cubes = np.array([pick.reset(seed)["environment_state"][:2] for seed in range(40)])
    assert (cubes.min(axis=0) < [0.32, -0.12]).all() and (cubes.max(axis=0) > [0.48, 0.12]).all()
    assert (cubes >= [0.3, -0.15]).all() and (cubes <= [0.5, 0.15]).all()
    still = make_environment(EnvironmentConfig(PICK_CUBE, {"random_block_position": False}))
    np.testing.assert_allclose([still.reset(seed)["environment_state"] for seed in (0, 1)], [[0.5, 0.0, 0.02]] * 2, atol=1e-6)
    still.close()


def test_all_boxes_and_their_places_are_in_the_state(arrange):
    task = arrange.env.unwrapped
    seen = arrange.reset(0)["environment_state"].reshape(2, 5, 3)
    for number in range(1, 6):
        np.testing.assert_allclose(seen[0, number - 1], task.data.joint(f"block{number}").qpos[:3], atol=1e-6)
        np.testing.assert_allclose(seen[1, number - 1], task.model.body(f"target{number}").pos, atol=1e-6)
    assert not np.array_equal(seen, arrange.reset(1)["environment_state"].reshape(2, 5, 3))


def test_the_gripper_closes_by_one_and_opens_by_minus_one_which_are_2_and_0_of_gym_hil(pick):
    assert pick.env.action_space.low[3] == 0.0 and pick.env.action_space.high[3] == 2.0
    fingers = pick.env.unwrapped.data.joint("right_driver_joint")
    pick.reset(0)
    for command, closed in ((1.0, True), (0.0, True), (-1.0, False), (0.0, False)):
        result = [pick.step(np.array([0.0, 0.0, 0.0, command])) for _ in range(4)][-1]
        assert fingers.qpos[0] > 0.7 if closed else fingers.qpos[0] < 0.05
        assert result.next_observation["agent_pos"][14] == (255.0 if closed else 0.0)


def test_only_a_command_that_turns_the_gripper_is_penalised(pick):
    pick.reset(0)
    penalties = [pick.step(np.array([0, 0, 0, command])).info["discrete_penalty"] for command in (-1, 1, 1, 0, -1, -1)]
    assert penalties == [0.0, -0.05, 0.0, 0.0, -0.05, 0.0]


@pytest.mark.parametrize("task", ["PandaPickCubeGymEnv", "PandaArrangeBoxesGymEnv"])
def test_the_controller_moves_the_arm_as_gym_hils_does(task: str):
    from gym_hil import envs  # pyright: ignore[reportMissingImports]

    theirs, ours = getattr(envs, task)(), getattr(envs, task)()
    rng, move = np.random.default_rng(0), OperationalSpace(ours)
    for environment in (theirs, ours):
        np.random.seed(0)
        environment.reset()
    for _ in range(15):  # before any contact, which would make chaos of rounding
        action = np.append(rng.uniform(-0.03, 0.03, 3) * [1.0, 1.0, 0.0], [0.0, 0.0, 0.0, rng.uniform(-1.0, 1.0)])
        theirs.apply_action(action)
        move(action)
        np.testing.assert_allclose(ours.data.qpos, theirs.data.qpos, atol=1e-9)
        np.testing.assert_allclose(ours.data.ctrl, theirs.data.ctrl, atol=1e-6)
    theirs.close()
    ours.close()


def test_states_need_no_graphics():
    code = f"""
from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
environment = make_environment(EnvironmentConfig({PICK_CUBE!r}))
environment.reset(0)
environment.step([0.0] * 4)
"""
    environ = os.environ | {"MUJOCO_GL": "disable"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stderr == "", done.stderr


def test_pictures_show_the_cube_whose_position_is_not_told():
    environment = make_environment(EnvironmentConfig(PICK_CUBE, PICTURES), render=True)
    observation = environment.reset(0)
    assert environment.spec.observation == (
        Leaf("agent_pos", (18,), "float32"),
        Leaf("pixels.front", (128, 128, 3), "uint8"),
        Leaf("pixels.wrist", (128, 128, 3), "uint8"),
    )
    state = environment.env.get_wrapper_attr("privileged_state")()
    np.testing.assert_array_equal(state["agent_pos"], observation["agent_pos"])
    assert state["environment_state"].shape == (3,)
    frame = environment.render()
    assert frame.shape == (384, 384, 3) and frame.dtype == np.uint8
    for picture in (observation["pixels.front"], frame):
        red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
        purple = (red > 100) & (blue > 100) & (green < 0.8 * red)  # the cube, and nothing else
        assert 10 < purple.sum() < 0.01 * purple.size
    moved = environment.step(np.array([1.0, 1.0, 1.0, 0.0])).next_observation
    assert not np.array_equal(moved["pixels.wrist"], observation["pixels.wrist"])
    again = environment.reset(0)
    for name, leaf in observation.items():
        np.testing.assert_array_equal(again[name], leaf)
    environment.close()


def test_frames_are_refused_where_none_were_asked_for(pick):
    with pytest.raises(WarmloopError, match="render=True"):
        pick.render()


def test_gym_hils_other_environments_are_still_made_as_it_registers_them():
    environment = make_environment(EnvironmentConfig("gym_hil/PandaPickCubeBase-v0"))
    assert environment.spec.action_dim == 7
    environment.close()


def test_a_wrong_argument_and_a_wrong_name_are_told():
    with pytest.raises(WarmloopError, match="cannot be made from the arguments"):
        make_environment(EnvironmentConfig(PICK_CUBE, {"cubes": 2}))
    with pytest.raises(WarmloopError, match="did you mean gym_hil/PandaPickCube"):
        make_environment(EnvironmentConfig("gym_hil/PandaPickCub-v0"))


def test_the_expert_picks_the_cube_wherever_it_lies(pick):
    episodes = [run_episode(pick, scripted_policy(pick), seed) for seed in range(50)]
    assert sum(episode.succeeded for episode in episodes) >= 49
    assert np.mean([len(episode) for episode in episodes]) < 18
    assert max(np.abs(episode.steps.action).max() for episode in episodes) <= 1.0


def test_pictures_may_be_there_beside_the_state_and_be_for_the_success_rule_alone(pick):
    both = EnvironmentConfig(PICK_CUBE, PICTURES | {"state_too": True})
    environment, unseen = (make_environment(dataclasses.replace(both, unseen=names)) for names in ((), ("pixels.front", "pixels.wrist")))
    told = pick.reset(5)
    assert {"pixels.front", "pixels.wrist"} == set(environment.reset(5)) - set(told) and unseen.spec == pick.spec
    np.testing.assert_array_equal(environment.reset(5)["environment_state"], told["environment_state"])
    np.testing.assert_array_equal(unseen.reset(5)["environment_state"], told["environment_state"])
    environment.close()
    unseen.close()


def test_the_expert_reads_the_simulator_where_the_cube_is_not_told(pick):
    environment = make_environment(EnvironmentConfig(PICK_CUBE, PICTURES), RewardConfig())
    told, seen = (run_episode(one, scripted_policy(one), 2) for one in (pick, environment))
    np.testing.assert_array_equal(told.steps.action, seen.steps.action)
    environment.close()


def test_the_expert_acts_within_other_limits_of_the_actions(pick):
    low, high = (-0.5, -0.5, -0.5, 0.0), (0.5, 0.5, 0.5, 2.0)
    slow = make_environment(EnvironmentConfig(PICK_CUBE, action_low=low, action_high=high), RewardConfig())
    episode = run_episode(slow, scripted_policy(slow), 1)
    assert episode.succeeded and len(episode) > len(run_episode(pick, scripted_policy(pick), 1)) + 5
    slow.close()


def bursts(observation, step, rng):
    return np.random.default_rng(step // 5).uniform(-1.0, 1.0, 4)


def pushing(observation, step, rng):
    """With the gripper closed onto the cube."""
    way = observation["environment_state"] - observation["agent_pos"][15:] + rng.normal(0.0, 0.01, 3)
    return np.append(np.clip(way / 0.025, -1.0, 1.0), 1.0)


def fumbling(observation, step, rng):
    """Closes and opens around the cube."""
    return np.append(pushing(observation, step, rng)[:3], rng.choice([-1.0, 1.0]))


@pytest.mark.parametrize("disturb", [bursts, pushing, fumbling])
def test_the_expert_takes_over_at_any_moment(pick, disturb):
    expert, taken = scripted_policy(pick), 0
    for seed in range(12):
        rng, observation = np.random.default_rng(seed), pick.reset(seed)
        expert.begin(seed)
        start, result, step = int(rng.integers(5, 14)), None, 0
        while result is None or not (result.terminated or result.truncated):
            result = pick.step(expert(observation, step) if step >= start else disturb(observation, step, rng))
            observation, step = result.next_observation, step + 1
        if step > start:  # else the cube was pushed out of bounds, or picked, before
            taken += 1
            assert result.success, (seed, start, step)
    assert taken >= 6


def test_a_disturbed_expert_mostly_succeeds_and_takes_longer(pick):
    policy = NoisyPolicy(scripted_policy(pick), 0.5, 0.1)
    episodes = [run_episode(pick, policy, seed) for seed in range(12)]
    assert sum(episode.succeeded for episode in episodes) >= 8
    assert np.mean([len(episode) for episode in episodes]) > 18


@pytest.mark.slow
def test_the_expert_arranges_all_boxes(arrange):
    episodes = [run_episode(arrange, scripted_policy(arrange), seed) for seed in range(5)]
    assert all(episode.succeeded for episode in episodes)
