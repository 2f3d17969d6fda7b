"""A task of a Franka with HIL-SERL's server and a cube: reach it, grasp it, lift it. The configuration, the cube's tracker, and a script.

--config=franka_pick_task.py --policy=franka_pick_task:Pick --intervention=teacher:policy=franka_pick_task:Pick
"""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
from ml_collections import ConfigDict

from warmloop.actor.environment.environment import Environment
from warmloop.actor.robots.http_robot import HttpRobot
from warmloop.configs.franka import task
from warmloop.configs.schema import to_config_dict

SPEED = 100.0  # the time of the simulated arm passes with the commands; 1 for a real one
HALF, LIFTED = 0.02, 0.05  # metres: of the cube's edge, and over where it lies, where it counts as lifted
REGION = ((0.45, 0.55), (-0.1, 0.1), (-0.25, 0.25))  # where the cube is put: x, y, and its turn in radians


class EnvConfig:
    """Lift the cube by 5 cm. Derive it from HIL-SERL's DefaultEnvConfig where HIL-SERL is installed."""

    SERVER_URL = "http://127.0.0.1:5100/"
    RESET_POSE = np.array([0.5, 0.0, 0.15, np.pi, 0.0, 0.0])
    ABS_POSE_LIMIT_LOW = np.array([0.35, -0.2, 0.015, np.pi - 0.05, -0.05, -0.1])
    ABS_POSE_LIMIT_HIGH = np.array([0.65, 0.2, 0.3, np.pi + 0.05, 0.05, 0.1])
    RANDOM_RESET = True
    RANDOM_XY_RANGE = 0.05
    ACTION_SCALE = (0.015, 0.1, 1)
    MAX_EPISODE_LENGTH = 60
    COMPLIANCE_PARAM = {"translational_stiffness": 2000, "translational_damping": 89}  # noqa: RUF012
    PRECISION_PARAM = {"translational_stiffness": 3000, "translational_damping": 89}  # noqa: RUF012


TRACKER = EnvConfig.SERVER_URL  # in simulation, the robot's server knows the cube
SEEN = {"cube": slice(0, 3), "gripper": 3, "reach": slice(4, 7)}  # of the state below
WRAPPERS = ("franka_pick_task:Tracked", "quaternion_to_6d", "serl_observation:cube+gripper_pose+reach+tcp_pose+tcp_vel")


def get_config() -> ConfigDict:
    """`info["lifted"]` is the tracker's word."""
    config = task("franka_pick_task:EnvConfig")
    kwargs = dict(config.environment.kwargs) | {"speed": SPEED}
    environment = dataclasses.replace(config.environment, kwargs=kwargs, wrappers=WRAPPERS, success="info:lifted")
    return to_config_dict(config.replace(environment=environment))


class Tracked(gym.Wrapper):
    """Adds what a tracker tells of the cube, in metres in the frame of the arm's base, and puts the cube back at a reset.

    In a lab the tracker is a camera that finds a tag on the cube (AprilTag, ArUco), a person puts the cube back, and `reset` waits until
    it lies in `REGION`. `state` gets `cube` `[3]`, its place, and `reach` `[3]`, that place from the tool's.
    """

    def __init__(self, env: gym.Env):
        super().__init__(env)
        parts: dict[str, Any] = {name: gym.spaces.Box(-np.inf, np.inf, (3,), np.float32) for name in ("cube", "reach")}
        seen: Any = env.observation_space
        spaces: dict[str, Any] = dict(seen.items()) | {"state": gym.spaces.Dict(dict(seen["state"].items()) | parts)}
        self.observation_space = gym.spaces.Dict(spaces)
        self._tracker = HttpRobot(TRACKER, timeout=5.0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        self._tracker.ask("open_gripper")
        observation, info = self.env.reset(seed=seed, options=options)
        x, y, turn = (self.np_random.uniform(*bounds) for bounds in REGION)
        self._tracker.ask("place", {"x": x, "y": y, "turn": turn})
        return self._seen(observation), info | {"lifted": False}

    def step(self, action: Any) -> tuple[dict, float, bool, bool, dict]:
        observation, _, terminated, truncated, info = self.env.step(action)
        found = self._seen(observation)
        lifted = bool(found["state"]["cube"][2] > HALF + LIFTED)
        return found, float(lifted), terminated, truncated, info | {"lifted": lifted}

    def _seen(self, observation: dict[str, Any]) -> dict[str, Any]:
        cube = np.array(self._tracker.ask("cube")["position"], np.float32)
        found = {"cube": cube, "reach": cube - observation["state"]["tcp_pose"][:3]}
        return observation | {"state": observation["state"] | found}


CLEAR, NEAR, SLOPE = 0.06, 0.008, 4.0  # metres over the cube on the way there; to the side within which it goes down; metres a metre
EMPTY, HELD = 0.2, 0.8  # of the gripper's position: shut on nothing, and open
GAIN = 0.8


class Pick:
    """Goes over the cube with an open gripper, down, closes, and lifts: decided by the observation alone, for the policy of a collection
    and for a teacher, whose measure of progress it has."""

    def __init__(self, environment: Environment | None = None):
        """It needs nothing of the environment."""

    def begin(self, seed: int) -> None:
        """Nothing is remembered."""

    def __call__(self, observation: dict[str, np.ndarray], step: int) -> np.ndarray:
        shift, gripper = self._wanted(observation["state"].astype(np.float64))
        motion = np.clip(GAIN * shift / EnvConfig.ACTION_SCALE[0], -1.0, 1.0)
        return np.concatenate([motion, np.zeros(3), [gripper]]).astype(np.float32)

    def progress(self, observation: dict[str, np.ndarray]) -> float:
        """Metres: nearer to the cube, and higher with it."""
        state = observation["state"].astype(np.float64)
        return 5.0 * float(state[SEEN["cube"]][2]) - float(np.linalg.norm(state[SEEN["reach"]]))

    def _wanted(self, state: np.ndarray) -> tuple[np.ndarray, float]:
        """The tool's shift `[3]`, and the gripper's number."""
        reach, opening = state[SEEN["reach"]], float(state[SEEN["gripper"]])
        beside = float(np.linalg.norm(reach[:2]))
        around = beside < 0.02 and abs(reach[2]) < 0.015
        if around and EMPTY < opening < HELD:
            return np.array([0.0, 0.0, 1.0]), -1.0
        height = np.clip(SLOPE * (beside - NEAR), 0.0, CLEAR)
        closes = around and beside < 1.5 * NEAR and opening > EMPTY
        return reach + np.array([0.0, 0.0, height]), -1.0 if closes else 1.0
