"""Scripted experts whose recordings the bench learns from, `--policy=warm_experts:NAME` of warmloop-collect; OGBench's are in warm_oracles.

The first three make recordings as labs have them of the scripted expert that warmloop has for the environment.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from warmloop.actor.environment.environment import Environment
from warmloop.actor.policies.experts import scripted_policy
from warmloop.data.transition import PyTree

PAUSES, PAUSE = 0.04, (8, 25)  # share of the steps at which a pause begins, and its length in steps
DETOUR = 18  # steps
ASTRAY, ASTRAY_STEPS = 0.02, 40  # share of the steps at which the hand goes astray, and for how long


class Paused:
    """The expert, who now and then holds still for a while, the gripper as it was."""

    def __init__(self, environment: Environment):
        self._expert = scripted_policy(environment)

    def begin(self, seed: int) -> None:
        self._expert.begin(seed)
        self._rng, self._left, self._gripper = np.random.default_rng(seed), 0, 0.0

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        if self._left == 0 and self._rng.random() < PAUSES:
            self._left = int(self._rng.integers(*PAUSE))
        action = self._expert(observation, step)
        if self._left == 0:
            self._gripper = float(action[-1])
            return action
        self._left -= 1
        return np.append(np.zeros(len(action) - 1), self._gripper).astype(np.float32)


class TwoWays:
    """The expert, who begins with a detour to the left or, as often, to the right: the mean of both is neither."""

    def __init__(self, environment: Environment):
        self._expert = scripted_policy(environment)

    def begin(self, seed: int) -> None:
        self._expert.begin(seed)
        self._side = np.random.default_rng(seed).choice((-1.0, 1.0))

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        action = self._expert(observation, step)
        return np.concatenate([[self._side], action[1:]]).astype(np.float32) if step < DETOUR else action


class Erring:
    """The expert, whose hand now and then goes astray for long: who does not correct it records a failure."""

    def __init__(self, environment: Environment):
        self._expert = scripted_policy(environment)

    def begin(self, seed: int) -> None:
        self._expert.begin(seed)
        self._rng, self._left, self._wrong = np.random.default_rng(seed), 0, np.zeros(0)

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        action = self._expert(observation, step)
        if self._left == 0 and self._rng.random() < ASTRAY:
            self._left, self._wrong = ASTRAY_STEPS, self._rng.uniform(-1, 1, action.shape).astype(np.float32)
        self._left = max(self._left - 1, 0)
        return self._wrong if self._left else action


class Fetch:
    """Brings Fetch's object to its goal: pushes it where the gripper is locked, else picks it up and carries it."""

    def __init__(self, environment: Environment):
        self._pushes = "Push" in environment.config.id

    def begin(self, seed: int) -> None:
        """It decides by what it sees."""

    def __call__(self, observation: Any, step: int) -> np.ndarray:
        seen, goal = np.asarray(observation["observation"], np.float64), np.asarray(observation["desired_goal"], np.float64)
        tool, thing, opening = seen[:3], seen[3:6], float(seen[9] + seen[10])
        target, gripper = _push(tool, thing, goal) if self._pushes else _pick(tool, thing, goal, opening)
        return np.append(np.clip(12.0 * (target - tool), -1.0, 1.0), gripper).astype(np.float32)


def _push(tool: np.ndarray, thing: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, float]:
    """Where the tool should be: behind the object, as seen from the goal, and then through it."""
    way = (goal - thing)[:2]
    forward = way / max(float(np.linalg.norm(way)), 1e-6)
    behind = np.append(thing[:2] - 0.07 * forward, thing[2])
    offset = tool[:2] - thing[:2]
    beside = abs(float(offset[0] * forward[1] - offset[1] * forward[0]))
    if float(offset @ forward) < -0.02 and beside < 0.02 and tool[2] < thing[2] + 0.03:
        return np.append(thing[:2] + min(0.05, float(np.linalg.norm(way))) * forward, thing[2]), 0.0
    if np.linalg.norm((tool - behind)[:2]) > 0.02:
        return behind + np.array([0.0, 0.0, 0.08]), 0.0
    return behind, 0.0


def _pick(tool: np.ndarray, thing: np.ndarray, goal: np.ndarray, opening: float) -> tuple[np.ndarray, float]:
    """Where the tool should be, and the gripper's command: -1 closes, 1 opens."""
    beside, above = float(np.linalg.norm((tool - thing)[:2])), float(tool[2] - thing[2])
    if beside < 0.02 and abs(above) < 0.02:
        return (goal if opening < 0.06 else thing), -1.0
    return thing + np.array([0.0, 0.0, 0.0 if beside < 0.02 else 0.06]), 1.0


class Kitchen:
    """Opens the kitchen's slide cabinet, by joint velocities that move the hand: before the cabinet, beside its handle, and along."""

    BEFORE = ((-0.12, -0.15, 0.0), (-0.12, 0.02, 0.0))  # metres from the handle
    ALONG = (0.2, 0.02, 0.0)  # metres from the hand
    SPEED = 0.8  # metres a second at most

    def __init__(self, environment: Environment):
        robot: Any = environment.env.unwrapped
        self._model, self._data = robot.robot_env.model, robot.robot_env.data
        self._hand, self._handle = (self._model.site(name).id for name in ("end_effector", "slide_site"))

    def begin(self, seed: int) -> None:
        self._stage, self._missing = 0, np.zeros(3)

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        hand, handle = self._data.site_xpos[self._hand], self._data.site_xpos[self._handle]
        way = handle + self.BEFORE[self._stage] - hand if self._stage < len(self.BEFORE) else np.array(self.ALONG)
        self._stage += self._stage < len(self.BEFORE) and float(np.linalg.norm(way)) < 0.03
        # The arm sags under its weight, so what stays missing near a goal adds up.
        self._missing = self._missing + 0.15 * way if np.linalg.norm(way) < 0.15 else np.zeros(3)
        speed = 5.0 * (way + self._missing)
        speed *= min(1.0, self.SPEED / max(float(np.linalg.norm(speed)), 1e-9))
        return np.append(np.clip(self._joints(speed) / 2.0, -1.0, 1.0), [0.0, 0.0]).astype(np.float32)

    def _joints(self, speed: np.ndarray) -> np.ndarray:
        """The joints' velocities `[7]` that move the hand by `speed` `[3]`: the damped least squares."""
        import mujoco

        jacobian = np.zeros((3, self._model.nv))
        mujoco.mj_jacSite(self._model, self._data, jacobian, None, self._hand)  # pyright: ignore[reportAttributeAccessIssue]
        arm = jacobian[:, :7]
        return arm.T @ np.linalg.solve(arm @ arm.T + 1e-2 * np.eye(3), speed)


class Presser:
    """Brings Lucky's point to its place and presses there."""

    def begin(self, seed: int) -> None:
        """It decides by what it sees."""

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        way = np.asarray(observation[2:]) - np.asarray(observation[:2])
        return np.append(np.clip(10.0 * way, -1.0, 1.0), 1.0 if np.linalg.norm(way) < 0.1 else -1.0).astype(np.float32)


presser = Presser()


class Swinger:
    """Swings Pendulum up by its energy, and holds it there."""

    def begin(self, seed: int) -> None:
        """It decides by what it sees."""

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        cosine, sine, speed = map(float, observation)
        if cosine > 0.9:
            return np.clip([-8.0 * sine - 1.5 * speed], -1.0, 1.0).astype(np.float32)
        short = 10.0 - (speed**2 / 6.0 + 5.0 * cosine + 5.0)  # of the energy at the top, mass and length 1, g 10
        return np.array([np.sign(speed if speed else 1.0) * np.clip(short, -1.0, 1.0)], np.float32)


swinger = Swinger()
