"""A Franka behind HIL-SERL's robot server, as a Gymnasium environment: the lab keeps the server, its configuration and its cameras.

What it does with an action, a pose, a picture and the gripper is what HIL-SERL's FrankaEnv does (Luo et al. 2024). Different on purpose:

- The length limit truncates an episode; it does not terminate it.
- The constructor touches no robot and no camera.
- Every wait has an end. A fault ends the episode instead of asking at the keyboard.
- `safe_stop` holds the arm where it is.
"""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from ...data.errors import EnvironmentFault, WarmloopError
from .franka_config import read_config
from .http_robot import HttpRobot
from .newest_frame import CAMERA, WHERE, NewestFrame, scaled
from .pace import Pace

STATE = {"tcp_pose": 7, "tcp_vel": 6, "gripper_pose": 1, "tcp_force": 3, "tcp_torque": 3}
TOLD = {"tcp_pose": "pose", "tcp_vel": "vel", "gripper_pose": "gripper_pos", "tcp_force": "force", "tcp_torque": "torque"}
PICTURE = (128, 128, 3)
GRIPPER_COMMAND = 0.5  # of an action, beyond which it turns the gripper
GRIPPER_OPEN = 0.85  # of its position, above which it is open
RESET_SECONDS = 1.0  # of the way to the start of an episode
SETTLE_SECONDS = (0.3, 0.5)  # after holding still, and after new parameters
CAMERA_SECONDS = 5.0


class FrankaServerEnv(gym.Env):
    """One arm and its gripper.

    Actions `[7]` in [-1, 1] are a translation, a rotation vector about the base's axes, and the gripper: below -0.5 it closes, above 0.5 it
    opens. Observations are `state` (tcp_pose `[7]` with the quaternion xyzw, tcp_vel, gripper_pose, tcp_force, tcp_torque) and `images`.

    Args:
        config: MODULE:NAME of a class with HIL-SERL's names (`franka_config.FrankaConfig`).
        hz: steps a second.
        timeout: seconds for an answer of the server.
        joint_timeout: seconds for a reset of the joints.
        camera: MODULE:NAME of the cameras' class; by default HIL-SERL's own.
        url: of the server, in place of the configuration's.
        speed: how much faster than real time all goes, for a simulated robot alone.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  # as Gymnasium has it

    def __init__(
        self,
        config: str,
        hz: float = 10.0,
        timeout: float = 1.0,
        joint_timeout: float = 60.0,
        camera: str = "franka_env.camera.rs_capture:RSCapture",
        url: str = "",
        speed: float = 1.0,
        render_mode: str | None = None,
    ):
        if min(hz, timeout, joint_timeout, speed) <= 0:
            raise WarmloopError("FrankaServer-v0: hz, timeout, joint_timeout and speed must be above 0.")
        self.config, self.render_mode = read_config(config), render_mode
        self._url, self._timeout, self._joint_timeout, self._speed = url or self.config.server_url, timeout, joint_timeout, speed
        self._camera, self._frames = camera, list[NewestFrame]()
        self._robot: HttpRobot | None = None
        self._pace, self._steps, self._episodes = Pace(hz * speed), 0, 0
        self._hz = hz
        self._state: dict[str, np.ndarray] = {}
        self._turned_at = 0.0
        self.metadata = {**self.metadata, "render_fps": round(hz)}
        self.action_space = gym.spaces.Box(-1.0, 1.0, (7,), np.float32)
        state: dict[str, Any] = {name: gym.spaces.Box(-np.inf, np.inf, (size,), np.float32) for name, size in STATE.items()}
        spaces: dict[str, Any] = {"state": gym.spaces.Dict(state)}
        if images := {name: gym.spaces.Box(0, 255, PICTURE, np.uint8) for name in self.config.realsense_cameras}:
            spaces["images"] = gym.spaces.Dict(dict[str, Any](images))
        self.observation_space = gym.spaces.Dict(spaces)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Brings the arm to the start of an episode. The seed decides where that is, where the configuration has it random."""
        super().reset(seed=seed)
        self._connect()
        self._episodes += 1
        period = self.config.joint_reset_period
        self._ask("update_param", dict(self.config.compliance_param))
        self._ask("clearerr")
        self._to_start(joints=bool(period) and self._episodes % period == 0)
        self._ask("clearerr")
        self._steps, self._turned_at = 0, time.monotonic()
        self._look()
        self._pace.restart()
        return self._observation(), {"succeed": False}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        """Moves the tool's target by `action` from where the tool is, until the next beat, and looks."""
        if self._robot is None:
            raise WarmloopError("reset() comes before the first step().")
        action = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        self._turn_gripper(action[6] * self.config.action_scale[2])
        self._go(self._bounded(self._moved(action)))
        late = self._pace.wait()
        self._look()
        self._steps += 1
        done = self._is_done()
        over = not done and self._steps >= self.config.max_episode_length
        return self._observation(), float(done), done, over, {"succeed": done, "late": late}

    def render(self) -> np.ndarray:
        """The cameras' pictures side by side."""
        if not self._frames:
            raise WarmloopError("FrankaServer-v0 renders its cameras, and REALSENSE_CAMERAS names none, or reset() was not called yet.")
        return np.concatenate(list(self._pictures().values()), axis=1)

    def safe_stop(self) -> None:
        """Has the arm hold the pose that it has, by a connection of its own, from any thread. One that was never reached does not move."""
        if self._robot is None:
            return
        other = HttpRobot(self._url, self._timeout)
        other.ask("pose", {"arr": list(other.ask("getstate")["pose"])})
        other.close()

    def close(self) -> None:
        for frames in self._frames:
            frames.close()
        if self._robot is not None:
            self._robot.close()
        self._frames, self._robot = [], None

    # What an action means.

    def _moved(self, action: np.ndarray) -> np.ndarray:
        """The pose `[7]` that an action asks for."""
        pose, scale = self._state["tcp_pose"], self.config.action_scale
        turn = Rotation.from_euler("xyz", action[3:6] * scale[1])
        return np.append(pose[:3] + action[:3] * scale[0], (turn * Rotation.from_quat(pose[3:])).as_quat())

    def _bounded(self, pose: np.ndarray) -> np.ndarray:
        """A pose within the box. The first angle jumps from π to −π, and so is bounded in size."""
        low, high = self.config.abs_pose_limit_low, self.config.abs_pose_limit_high
        angles = Rotation.from_quat(pose[3:]).as_euler("xyz")
        angles[0] = np.sign(angles[0]) * np.clip(abs(angles[0]), low[3], high[3])
        angles[1:] = np.clip(angles[1:], low[4:], high[4:])
        return np.append(np.clip(pose[:3], low[:3], high[:3]), Rotation.from_euler("xyz", angles).as_quat())

    def _turn_gripper(self, command: float) -> None:
        """Opens or closes it where the command is decided and it is not so already, and waits until it is done."""
        is_open, waited = bool(self._state["gripper_pose"][0] > GRIPPER_OPEN), (time.monotonic() - self._turned_at) * self._speed
        if abs(command) < GRIPPER_COMMAND or is_open == (command > 0) or waited <= self.config.gripper_sleep:
            return
        self._ask("open_gripper" if command > 0 else "close_gripper")
        self._turned_at = time.monotonic()
        self._sleep(self.config.gripper_sleep)
        self._pace.restart()  # the wait is the gripper's, and not a late policy's

    def _is_done(self) -> bool:
        """Whether the tool is within REWARD_THRESHOLD of TARGET_POSE in each number."""
        pose, target = self._state["tcp_pose"], self.config.target_pose
        turn = Rotation.from_quat(pose[3:]).inv() * Rotation.from_euler("xyz", target[3:])
        away = np.append(np.abs(pose[:3] - target[:3]), np.abs(turn.as_euler("xyz")))
        return bool((away < self.config.reward_threshold).all())

    # The way to the start of an episode.

    def _to_start(self, joints: bool) -> None:
        self._look()
        self._go(self._state["tcp_pose"])
        self._sleep(SETTLE_SECONDS[0])
        self._ask("update_param", dict(self.config.precision_param))
        self._sleep(SETTLE_SECONDS[1])
        if joints:
            self._ask("jointreset", timeout=self._joint_timeout)
            self._sleep(SETTLE_SECONDS[1])
        self._travel(self._start())
        self._ask("update_param", dict(self.config.compliance_param))

    def _start(self) -> np.ndarray:
        """RESET_POSE `[7]`, with the noise of the configuration."""
        pose = self.config.reset_pose.copy()
        if self.config.random_reset:
            reach = self.config.random_xy_range
            pose[:2] += self.np_random.uniform(-reach, reach, 2)
            pose[5] += self.np_random.uniform(-self.config.random_rz_range, self.config.random_rz_range)
        return np.append(pose[:3], Rotation.from_euler("xyz", pose[3:]).as_quat())

    def _travel(self, goal: np.ndarray) -> None:
        """To a pose in a straight line, in `RESET_SECONDS`."""
        self._look()
        here, steps = self._state["tcp_pose"], max(int(RESET_SECONDS * self._hz), 2)
        turns = Slerp([0, 1], Rotation.from_quat([here[3:], goal[3:]]))(np.linspace(0, 1, steps)).as_quat()
        self._pace.restart()
        for place, turn in zip(np.linspace(here[:3], goal[:3], steps), turns, strict=True):
            self._go(np.append(place, turn))
            self._pace.wait()

    # The server and the cameras.

    def _connect(self) -> None:
        if self._robot is None:
            robot = HttpRobot(self._url, self._timeout)
            robot.connect()
            self._robot = robot
        if any(frames.failed for frames in self._frames):
            for frames in self._frames:
                frames.close()
            self._frames = []
        if not self._frames and self.config.realsense_cameras:
            kind = CAMERA.open(self._camera, WHERE)
            for name, arguments in self.config.realsense_cameras.items():
                self._frames.append(NewestFrame(name, lambda name=name, arguments=arguments: kind(name=name, **arguments), CAMERA_SECONDS))

    def _ask(self, what: str, body: dict[str, Any] | None = None, timeout: float | None = None) -> dict[str, Any]:
        assert self._robot is not None
        return self._robot.ask(what, body, timeout)

    def _go(self, pose: np.ndarray) -> None:
        """Has the arm go to a pose; an error of its controller is cleared first, as in HIL-SERL."""
        self._ask("clearerr")
        self._ask("pose", {"arr": pose.astype(np.float32).tolist()})

    def _look(self) -> None:
        answer, found = self._ask("getstate"), {}
        for name, size in STATE.items():
            numbers = np.asarray(answer.get(TOLD[name], ()), np.float64).reshape(-1)
            if numbers.shape != (size,) or not np.isfinite(numbers).all():
                raise EnvironmentFault(f'The robot at {self._url} answered "getstate" without {size} numbers as {TOLD[name]}.')
            found[name] = numbers
        self._state = found

    def _observation(self) -> dict[str, Any]:
        state = {name: numbers.astype(np.float32) for name, numbers in self._state.items()}
        return {"state": state} | ({"images": self._pictures()} if self._frames else {})

    def _pictures(self) -> dict[str, np.ndarray]:
        """By camera, cropped, scaled, and RGB: the cameras give BGR."""
        crop = self.config.image_crop
        found = {frames.name: frames.read() for frames in self._frames}
        return {name: scaled(crop[name](one) if name in crop else one, *PICTURE[:2])[..., 2::-1] for name, one in found.items()}

    def _sleep(self, seconds: float) -> None:
        time.sleep(seconds / self._speed)
