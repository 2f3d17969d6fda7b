"""Wrappers of poses: relative to where the tool started, and rotations in other terms."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from ...data.errors import WarmloopError
from ..bridge.info import ACTIONS
from .leaves import Part, leaves
from .numbers import alone, parsed
from .rotations import ORDERS, euler_of, matrix_of, quaternion_of, reordered, six_numbers_of


class RelativeFrame(gym.Wrapper):
    """Poses and actions in the frame that the tool had at the reset, so that a policy does not depend on where that was.

    With the tool at p₀, R₀ at the reset, a position p is given as R₀ᵀ (p − p₀), a rotation R as R₀ᵀ R, a velocity v as Rₐᵀ v, and an
    action u in the wrapper's terms moves the tool by Rₐ u. Rₐ is R₀, or with `actions=current` the tool's present rotation, as in
    HIL-SERL's wrapper of this name. Of an action, three numbers are a translation and three more a rotation vector; either that leaves
    the action space by being turned is shortened. What a person did (`info["intervene_action"]` and the like) is turned the other way
    and not shortened, so that it is recorded in the policy's terms. Where there are several arms, each has a wrapper of its own.

    Args:
        env: the environment.
        pose: the part of its observations that is the tool's pose: a position [3], or that and a quaternion [7].
        velocity: the part that is its velocity [3] or [6]; "" for tcp_vel where there is one of this name beside the pose, and
            X/tcp_vel for X/tcp_pose.
        actions: reset or current.
        order: of the quaternion's numbers, xyzw or wxyz.
        numbers: which three or six of the action's are turned, as FROM:TO; "" for the first six, or three where it has fewer than six.
    """

    def __init__(
        self, env: gym.Env, pose: str = "tcp_pose", velocity: str = "", actions: str = "reset", order: str = "xyzw", numbers: str = ""
    ):
        super().__init__(env)
        _check("relative_frame", "actions", actions, ("reset", "current"))
        self._pose, self._order, self._current = _pose("relative_frame", pose, env, order, (3, 7)), order, actions == "current"
        velocity = velocity or _velocity_beside(self._pose.name or "", env)
        self._velocity = Part(velocity, env.observation_space) if velocity else None
        if self._velocity is not None and self._velocity.width not in (3, 6):
            width = self._velocity.width
            raise WarmloopError(f'The wrapper relative_frame takes a velocity of 3 or 6 numbers, and "{velocity}" has {width}.')
        self.numbers = _turned(env.action_space, numbers)
        for other in alone(self, env, "relative_frame", "as in numbers=0:6 and numbers=7:13"):
            if other._pose.overlaps(self._pose):
                raise WarmloopError(f'Two wrappers relative_frame have the pose "{self._pose.text}"; give each arm\'s its own.')
        unbounded = np.full(self._pose.width, np.inf)
        self.observation_space = self._pose.in_space(env.observation_space, -unbounded, unbounded)
        self._start, self._rotation = np.zeros(3), np.eye(3)
        self._acting = np.eye(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._start, self._rotation = self._read(observation)
        self._acting = self._rotation
        return self._relative(observation), info

    def step(self, action: np.ndarray) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        acting = self._acting
        observation, reward, terminated, truncated, info = self.env.step(self._turn(action, acting, bounded=True))
        done = {name: self._turn(info[name], acting.T) for name in ACTIONS if info.get(name) is not None}
        if self._current:
            self._acting = self._read(observation)[1]
        return self._relative(observation), reward, terminated, truncated, {**info, **done}

    def action(self, action: np.ndarray) -> np.ndarray:
        """An action in the wrapper's terms, as the environment takes it now."""
        return self._turn(action, self._acting, bounded=True)

    def inverse_action(self, action: np.ndarray) -> np.ndarray:
        """An action of the environment, such as a person's, in the wrapper's terms now."""
        return self._turn(action, self._acting.T)

    def _read(self, observation: Any) -> tuple[np.ndarray, np.ndarray]:
        pose = self._pose.of(observation)
        return pose[:3], matrix_of(reordered(pose[3:], self._order)) if len(pose) == 7 else np.eye(3)

    def _relative(self, observation: Any) -> Any:
        position, rotation = self._read(observation)
        position = self._rotation.T @ (position - self._start)
        if self._velocity is not None:
            turned = self._velocity.of(observation).reshape(-1, 3) @ self._acting
            observation = self._velocity.replaced(observation, turned.ravel())
        if self._pose.width == 3:
            return self._pose.replaced(observation, position)
        quaternion = quaternion_of(self._rotation.T @ rotation)
        quaternion = quaternion if self._order == "xyzw" else np.roll(quaternion, 1)
        return self._pose.replaced(observation, np.concatenate([position, quaternion]))

    def _turn(self, action: np.ndarray, rotation: np.ndarray, bounded: bool = False) -> np.ndarray:
        box: Any = self.env.action_space
        turned = np.array(action, np.float64)
        for start in self.numbers[::3]:
            part = slice(start, start + 3)
            turned[part] = rotation @ turned[part]
            if bounded:
                turned[part] = _shortened(turned[part], box.low[part], box.high[part])
        return turned.astype(box.dtype)


class QuaternionToEuler(gym.ObservationWrapper):
    """Turns the quaternion of a pose [7] into angles about the fixed axes x, y and z in radians: a pose [6], as in HIL-SERL."""

    name, width, limit = "quaternion_to_euler", 3, np.pi

    def __init__(self, env: gym.Env, pose: str = "tcp_pose", order: str = "xyzw"):
        super().__init__(env)
        self._pose, self._order = _pose(self.name, pose, env, order, (7,)), order
        reach = np.append(np.full(3, np.inf), np.full(self.width, self.limit))
        self.observation_space = self._pose.in_space(env.observation_space, -reach, reach)

    def observation(self, observation: Any) -> Any:
        pose = self._pose.of(observation)
        rotation = self._told(matrix_of(reordered(pose[3:], self._order)))
        return self._pose.replaced(observation, np.concatenate([pose[:3], rotation]))

    def _told(self, matrix: np.ndarray) -> np.ndarray:
        return euler_of(matrix)


class QuaternionTo6D(QuaternionToEuler):
    """Turns the quaternion of a pose [7] into the first two columns of its rotation matrix: a pose [9] without jumps."""

    name, width, limit = "quaternion_to_6d", 6, 1.0

    def _told(self, matrix: np.ndarray) -> np.ndarray:
        return six_numbers_of(matrix)


def _pose(wrapper: str, pose: str, env: gym.Env, order: str, widths: tuple[int, ...]) -> Part:
    _check(wrapper, "order", order, ORDERS)
    part = Part(pose, env.observation_space)
    if part.width not in widths:
        allowed = " or ".join(map(str, widths))
        raise WarmloopError(f'The wrapper {wrapper} takes a pose of {allowed} numbers, and "{pose}" has {part.width}.')
    return part


def _velocity_beside(pose: str, env: gym.Env) -> str:
    """The full name of the velocity that goes with a pose; "" where there is none."""
    arm = pose.removesuffix("tcp_pose") if pose.endswith("tcp_pose") else pose[: pose.rfind(".") + 1]
    return f"{arm}tcp_vel" if f"{arm}tcp_vel" in leaves(env.observation_space) else ""


def _turned(box: Any, text: str) -> range:
    """The numbers of an action that are turned."""
    dimensions = box.shape[0] if isinstance(box, gym.spaces.Box) else 0
    numbers = parsed("relative_frame", text, dimensions) if text else range(6 if dimensions >= 6 else 3)
    part = slice(numbers.start, numbers.stop)
    if len(numbers) not in (3, 6) or numbers.stop > dimensions or (box.low[part] > 0).any() or (box.high[part] < 0).any():
        which = text or "the first"
        raise WarmloopError(f"The wrapper relative_frame takes 3 or 6 of the action's numbers, around 0, not {which} of {box}.")
    return numbers


def _check(wrapper: str, argument: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise WarmloopError(f'The wrapper {wrapper} takes {argument}={" or ".join(allowed)}, not "{value}".')


def _shortened(vector: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """`vector` within the bounds, in its own direction."""
    bound = np.where(vector > 0, high, -low)
    size = np.abs(vector)
    beyond = size > bound * (1.0 + 1e-9)
    return vector * np.min(bound[beyond] / size[beyond], initial=1.0)
