"""Any robot of LeRobot, with its cameras, as a Gymnasium environment.

- The constructor touches no robot and needs no LeRobot: the spaces follow from the settings, so that a learner's machine needs neither.
- Every wait has an end. A lost packet is asked for again; what stays lost, a motor's fault and a frozen camera end the episode.
- Calibration is LeRobot's, and is found where LeRobot keeps it.
- `safe_stop` holds the arm where it is, or relaxes it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from ...data.errors import EnvironmentFault, WarmloopError
from .joint_commands import JointCommands
from .lerobot_config import LeRobotConfig, camera_of
from .lerobot_link import LeRobotLink
from .lerobot_parts import camera_opener
from .motor_health import MotorHealth
from .newest_frame import NewestFrame, scaled
from .pace import Pace


class LeRobotEnv(gym.Env):
    """One robot.

    Observations are named as in LeRobot's data sets: `state` `[N]`, its features in the order of `LeRobotConfig.state`; `images`, by
    camera, RGB; and each of `registers`. Actions are `JointCommands.space`: with `actions="absolute"`, LeRobot's own in its units.

    Args:
        settings: those of `LeRobotConfig`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  # as Gymnasium has it

    def __init__(self, render_mode: str | None = None, **settings: Any):
        self.config = config = LeRobotConfig(**{name: _frozen(value) for name, value in settings.items()})
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": round(config.hz)}
        self._link, self._pace = LeRobotLink(config), Pace(config.hz * config.speed)
        self._cameras, self._frames = [camera_of(text) for text in config.cameras], list[NewestFrame]()
        self._commands = JointCommands(config)
        self._health: MotorHealth | None = None
        self._told: dict[str, Any] = {}  # by the robot, last
        self._told_at = -math.inf
        self._lost = 0
        self.action_space = self._commands.space
        self.observation_space = self._space()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Brings the robot to the start of an episode. The seed decides where that is, where it is spread."""
        super().reset(seed=seed)
        self._link.resting = False
        self._link.connect()
        self._open_cameras()
        self._look()
        gripping = self.config.gripper.partition(".")[0]
        self._health = MotorHealth(self._link.tables(), self._link.register, self.config.max_celsius, self.config.min_volts, gripping)
        self._health.check_all()
        self._link.wake(self._measured())
        self._travel(self._start())
        self._commands.begin(self._measured())
        self._lost = self._link.lost
        observation = self._observation()
        self._pace.restart()
        return observation, {"succeed": False}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        """Commands the joints, waits for the next beat, and looks. The info has `late`, and `lost`, packets that were asked for again."""
        if self._health is None or not self._link.connected:
            raise WarmloopError("reset() comes before the first step().")
        if self._link.resting:
            self._link.resting = False
            self._look()
            self._link.wake(self._measured())
            self._commands.begin(self._measured())
        self._link.send(self._commands.next(action, self._measured()))
        late = self._pace.wait()
        self._look()
        self._health.check()
        observation, lost = self._observation(), self._link.lost - self._lost
        self._lost = self._link.lost
        done = self._is_done()
        return observation, float(done), done, False, {"succeed": done, "late": late, "lost": lost}

    def towards(self, goal: Mapping[str, float]) -> np.ndarray:
        """The action that brings joints, by their names, nearest to `goal`: for a leader arm.

        Raises:
            WarmloopError: actions are the tool's.
        """
        if self.config.actions == "effector":
            raise WarmloopError('A leader arm moves joints: set environment.kwargs.actions to "absolute" or "delta".')
        return self._commands.towards(goal)

    def pose(self) -> tuple[float, dict[str, float]]:
        """When the robot was last looked at, by `time.monotonic` (minus infinity before the first time), and where its joints were."""
        at, told = self._told_at, self._told
        return at, {name: float(told[name]) for name in self.config.joints if name in told}

    def render(self) -> np.ndarray:
        """The cameras' pictures side by side."""
        if not self._frames:
            raise WarmloopError("LeRobot-v0 renders its cameras, and environment.kwargs.cameras names none, or reset() was not called yet.")
        return np.concatenate(list(self._pictures().values()), axis=1)

    def safe_stop(self) -> None:
        """Has the robot hold where it is, or relax, from any thread. One that was never reached does not move."""
        self._link.rest()

    def close(self) -> None:
        self._close_cameras()
        self._link.close()
        self._health = None

    # The way to the start of an episode.

    def _start(self) -> np.ndarray:
        start = np.asarray(self.config.start, np.float64)
        if self.config.start_spread:
            spread = np.asarray(self.config.start_spread, np.float64)
            start = np.clip(start + self.np_random.uniform(-spread, spread), self.config.low, self.config.high)
        return start

    def _travel(self, goal: np.ndarray) -> None:
        """To a pose in a straight line of the joints; its time follows from the distance.

        Raises:
            EnvironmentFault: a joint does not get there, or the robot was brought to rest on the way.
        """
        here, config = self._measured(), self.config
        seconds = max(config.reset_seconds, float(np.abs(goal - here).max()) / config.reset_speed)
        self._pace.restart()
        for share in np.linspace(0.0, 1.0, max(math.ceil(seconds * config.hz), 1) + 1)[1:]:
            self._go(here + share * (goal - here))
        beats = math.ceil(config.settle_seconds * config.hz)
        while (away := np.abs(self._measured() - goal)).max() > config.tolerance:
            beats -= 1
            if beats < 0:
                worst = int(away.argmax())
                raise EnvironmentFault(
                    f"The robot {self._link.name} did not reach its start: {config.joints[worst]} is at {self._measured()[worst]:.1f}, and "
                    f"{goal[worst]:.1f} is wanted. Look at what is in its way, or raise environment.kwargs.tolerance."
                )
            self._go(goal)

    def _go(self, goal: np.ndarray) -> None:
        """One beat of the way."""
        if self._link.resting:
            raise EnvironmentFault(f"The robot {self._link.name} was brought to rest on the way to its start.")
        self._link.send(goal)
        self._pace.wait()
        self._look()
        assert self._health is not None
        self._health.check()

    # What is seen.

    def _space(self) -> gym.spaces.Dict:
        config, unbounded = self.config, (-np.inf, np.inf)
        size, motors = config.image_size, config.motors or len(config.joints)
        spaces: dict[str, Any] = {"state": gym.spaces.Box(*unbounded, (len(config.state_names),), np.float32)}
        spaces |= {name: gym.spaces.Box(*unbounded, (motors,), np.float32) for name in config.registers}
        if images := {spec.name: gym.spaces.Box(0, 255, (size, size, 3), np.uint8) for spec in self._cameras}:
            spaces["images"] = gym.spaces.Dict(dict[str, Any](images))
        return gym.spaces.Dict(spaces)

    def _look(self) -> None:
        self._told, self._told_at = self._link.read(), time.monotonic()

    def _measured(self) -> np.ndarray:
        """`[N]` where the joints are."""
        return np.array([float(self._told[name]) for name in self.config.joints])

    def _observation(self) -> dict[str, Any]:
        found: dict[str, Any] = {"state": np.array([float(self._told[name]) for name in self.config.state_names], np.float32)}
        for name in self.config.registers:
            found[name] = np.array(self._link.registers(name), np.float32)
            if found[name].shape != self.observation_space[name].shape:  # pyright: ignore[reportIndexIssue]
                raise WarmloopError(f"The robot {self._link.name} has {len(found[name])} motors; say so in environment.kwargs.motors.")
        return found | ({"images": self._pictures()} if self._frames else {})

    def _pictures(self) -> dict[str, np.ndarray]:
        size = self.config.image_size
        return {frames.name: scaled(frames.read(), size, size) for frames in self._frames}

    def _is_done(self) -> bool:
        """Whether each joint is within `goal_tolerance` of `goal`."""
        goal = self.config.goal
        return bool(goal) and bool((np.abs(self._measured() - goal) < self.config.goal_tolerance).all())

    def _open_cameras(self) -> None:
        """Opens those that are not open, and anew those that failed."""
        if self._frames and any(frames.failed for frames in self._frames):
            self._close_cameras()
        if not self._frames:
            openers = [camera_opener(spec, self.config) for spec in self._cameras]
            pairs = zip(self._cameras, openers, strict=True)
            self._frames = [NewestFrame(spec.name, opener, self.config.camera_seconds) for spec, opener in pairs]

    def _close_cameras(self) -> None:
        for frames in self._frames:
            frames.close()
        self._frames = []


def _frozen(value: Any) -> Any:
    """A setting as a flag or a file gives it, lists as tuples."""
    return tuple(value) if isinstance(value, list) else value
