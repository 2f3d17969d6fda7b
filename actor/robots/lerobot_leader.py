"""A teleoperator of LeRobot as an intervener: `--intervention=warmloop.actor.robots.lerobot_leader:Leader:port=/dev/ttyACM1,id=blue`.

A leader arm takes over while it is moved: the follower goes where the leader is, no faster than the environment's `max_step`. With
`follow=on` the leader goes where the follower is while the policy acts, and takes over when a hand pulls on it. A gamepad or a keyboard
of LeRobot, which moves the tool, takes over while it says so, and its keys for an episode's outcome count.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...data.errors import EnvironmentFault, WarmloopError
from ...data.running import emergency
from ..environment.environment import Environment
from ..intervention.intervention import Command, Signal
from ..teleop import OperatorConfig, open_devices
from ..teleop.operator import Operator
from .leading.following_arm import FollowingArm
from .lerobot_link import LOST, buses_of, disconnected, until_quiet, was_lost
from .lerobot_parts import make_teleoperator

WHERE = "--intervention"
JOIN_SECONDS = 2.0
KEYS = ("keyboard", "terminal", "gamepad")
FOLLOW = {"on": True, "off": False, True: True, False: False}
IDLE_SECONDS = 1.0  # since the robot was last looked at, or three steps, after which nobody acts and the leader is limp
SHIFTS = ("delta_x", "delta_y", "delta_z")  # as LeRobot names them
OUTCOMES = {"rerecord_episode": Signal.RERECORD, "success": Signal.SUCCESS, "terminate_episode": Signal.FAILURE}
log = logging.getLogger(__name__)


class Leader:
    """An intervener (`actor/intervention/outside_intervener.py`).

    Args:
        environment: one of `LeRobot-v0`.
        type: LeRobot's name of the teleoperator, such as so101_leader, or MODULE:NAME.
        port, id: where it is, and the name that it was calibrated under.
        calibration_dir: where LeRobot keeps its calibration; "" for LeRobot's own folder.
        takeover: by how much a joint of the leader must move for it to take over, in its units.
        release: seconds without a movement after which the policy acts again.
        rate: times a second that the leader is read.
        keys: keyboard, terminal or gamepad, whose keys for an episode's outcome count beside the leader; "" for none.
        follow: on: the leader arm goes where the follower is while the policy acts, and is limp while a person leads or nobody acts.
        pull: with follow, how far a hand must pull a joint from where it goes, in its units, to take over.
        torque: with follow, percent of its motors' torque.
        retries: how often a packet of the leader that was lost is asked for again.
    """

    def __init__(
        self,
        environment: Environment,
        type: str = "so101_leader",
        port: str = "",
        id: str = "",
        calibration_dir: str = "",
        takeover: float = 4.0,
        release: float = 1.0,
        rate: float = 30.0,
        keys: str = "",
        follow: str | bool = "off",
        pull: float = 8.0,
        torque: float = 30.0,
        retries: int = 3,
    ):
        if min(takeover, release, rate, pull) <= 0 or not 0 < torque <= 100:
            raise WarmloopError(f"{WHERE}: takeover, release, rate and pull must be above 0, and torque above 0 and at most 100.")
        if retries < 0:
            raise WarmloopError(f"{WHERE}: retries is {retries}; it must be 0 or more.")
        if follow not in FOLLOW:
            raise WarmloopError(f'{WHERE}: follow is "{follow}"; it must be on or off.')
        if not environment.env.has_wrapper_attr("towards"):
            raise WarmloopError(f'{WHERE}: a teleoperator of LeRobot moves "LeRobot-v0", and this is "{environment.config.id}".')
        self._environment, self._release, self._period, self._tries = environment, release, 1.0 / rate, retries + 1
        self._motion, self._following = Motion(takeover), (pull, torque) if FOLLOW[follow] else None
        self._made = lambda: make_teleoperator(type, str(port), str(id), str(calibration_dir))
        self._name = " ".join(filter(None, (type, str(id), f"at {port}" if port else "")))
        self._device: Any = None
        self._thread: threading.Thread | None = None
        self._over, self._failed, self._resting = threading.Event(), "", contextlib.ExitStack()
        self._lock, self._goal = threading.Lock(), dict[str, float]()
        self._keys = self._opened_keys(keys)
        self._connect()

    def ready(self) -> None:
        """Connects again where it was lost. Raises EnvironmentFault where it is still not there."""
        if self._keys is not None:
            self._keys.ready()
        if self._failed or self._device is None:
            self._disconnect()
            try:
                self._connect()
            except WarmloopError as error:
                raise EnvironmentFault(f"The teleoperator is not back: {error}") from error

    def begin(self, seed: int) -> None:
        """Where the leader is now is its rest."""
        if self._keys is not None:
            self._keys.begin(seed)
        with self._lock:
            self._motion.rest()

    def __call__(self, observation: Any, action: np.ndarray, step: int) -> Command:
        """The leader's action while it takes over, and the outcome that its keys say."""
        signal = None if self._keys is None else self._keys(observation, action, step).signal
        if hasattr(self._device, "get_teleop_events"):
            events = {getattr(key, "value", key): bool(said) for key, said in self._device.get_teleop_events().items()}
            given = self._device.get_action()
            signal = next((told for key, told in OUTCOMES.items() if events.get(key)), signal)
            return Command(self._scaled(self._shift(given)) if events.get("is_intervention") else None, signal)
        with self._lock:
            if self._failed:
                raise EnvironmentFault(f"The teleoperator {self._name} failed: {self._failed}.")
            if not self._goal or time.monotonic() - self._motion.at > self._release:
                return Command(None, signal)
            goal = dict(self._goal)
        return Command(self._scaled(self._environment.env.get_wrapper_attr("towards")(goal)), signal)

    def close(self) -> None:
        self._disconnect()
        if self._keys is not None:
            self._keys.close()

    def _opened_keys(self, name: str) -> Operator | None:
        """A device for the outcomes alone, none of whose axes moves anything."""
        if not name:
            return None
        if name not in KEYS:
            raise WarmloopError(f'{WHERE}: keys is "{name}"; it must be {", ".join(KEYS)}.')
        size = self._environment.spec.action_dim
        return open_devices((name,), size, OperatorConfig(axes="/".join("-" * size)))

    def _disconnect(self) -> None:
        device, self._device = self._device, None
        self._end_watch()
        self._resting.close()
        if device is not None:
            disconnected(device)

    def _end_watch(self) -> None:
        """Ends the thread, whose last act is to have the leader limp."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(JOIN_SECONDS)

    def _connect(self) -> None:
        device, calibrated = self._opened()
        if not calibrated:
            path = getattr(device, "calibration_fpath", "its file")
            disconnected(device)
            raise WarmloopError(f"The teleoperator {self._name} is not calibrated as {path} says; run `lerobot-calibrate --teleop.type=…`.")
        self._device, self._failed, self._goal = device, "", {}
        if not hasattr(device, "get_teleop_events"):
            self._check_joints(device)
            arm = self._following_arm(device)
            self._over = threading.Event()
            self._thread = threading.Thread(target=self._watch, args=(device, arm, self._over), name=f"leader {self._name}", daemon=True)
            self._thread.start()
            self._resting.enter_context(emergency.resting(lambda reason: self._end_watch()))  # where the process ends at once
        elif self._following:
            self._disconnect()
            raise WarmloopError(f"{WHERE}: follow=on is for leader arms, and {self._name} has no motors.")

    def _opened(self) -> tuple[Any, bool]:
        """A device that is connected, and whether it is calibrated; tried again where a packet was lost."""
        for attempt in range(self._tries):
            device = self._made()
            try:
                device.connect(calibrate=False)
                return device, getattr(device, "is_calibrated", True)
            except Exception as error:  # of a driver: any kind
                disconnected(device)
                if not was_lost(error) or attempt == self._tries - 1:
                    said = " ".join(str(error).split())[:300]
                    raise WarmloopError(f"The teleoperator {self._name} cannot be connected ({said}).") from error
        raise AssertionError

    def _check_joints(self, device: Any) -> None:
        joints = self._environment.env.get_wrapper_attr("config").joints
        if not set(device.action_features) & set(joints):
            self._disconnect()
            raise WarmloopError(
                f"The teleoperator {self._name} moves {', '.join(device.action_features)}, and the robot {', '.join(joints)}."
            )

    def _following_arm(self, device: Any) -> FollowingArm | None:
        """The leader's motors, which follow as fast as the robot's joints may move."""
        if not self._following:
            return None
        config = self._environment.env.get_wrapper_attr("config")
        speed = np.array(config.max_step) * config.hz * config.speed
        try:
            return FollowingArm(device, dict(zip(config.joints, speed.tolist(), strict=True)), *self._following)
        except WarmloopError:
            self._disconnect()
            raise

    def _watch(self, device: Any, arm: FollowingArm | None, over: threading.Event) -> None:
        """Reads the leader until it is closed or fails; a packet that is lost is asked for again. Then it is limp."""
        lost = 0
        while not over.wait(self._period):
            try:
                self._look(device, arm)
                lost = 0
            except Exception as error:  # of a driver: any kind
                lost += 1
                until_quiet(buses_of(device).values())
                if not isinstance(error, LOST) or lost == self._tries:
                    with self._lock:
                        self._failed = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                    break
        if arm is not None and arm.on:
            try:
                arm.relax()
            except Exception as error:  # of a driver: any kind
                log.warning("The leader arm %s is not limp: %s", self._name, error)

    def _look(self, device: Any, arm: FollowingArm | None) -> None:
        """Where the leader is now, who leads, and where it is to go."""
        goal = {name: float(number) for name, number in device.get_action().items()}
        with self._lock:
            self._goal = goal
            led = time.monotonic() - self._motion.at <= self._release
            if arm is None or led:
                self._motion.see(goal)
        if arm is None or led:
            return
        looked, pose = self._environment.env.get_wrapper_attr("pose")()
        if time.monotonic() - looked > max(IDLE_SECONDS, 3.0 / self._environment.env.get_wrapper_attr("config").hz):
            if arm.on:
                arm.relax()
        elif arm.follow(goal, pose):
            arm.relax()
            with self._lock:
                self._motion.take(goal)

    def _shift(self, given: Mapping[str, Any]) -> np.ndarray:
        """The tool's action of the names that LeRobot's gamepad and keyboard use; its gripper is 0, 1 or 2: close, stay, open."""
        config = self._environment.env.get_wrapper_attr("config")
        if config.actions != "effector":
            raise WarmloopError(f'The teleoperator {self._name} moves the tool: set environment.kwargs.actions to "effector".')
        motion = np.array([float(given[name]) for name in SHIFTS] + [0.0] * 3)
        return np.append(motion, float(given.get("gripper", 1)) - 1.0) if config.gripper else motion

    def _scaled(self, action: np.ndarray) -> np.ndarray:
        """An action of the environment's space in [-1, 1]."""
        return np.clip(self._environment.limits.scale(action), -1.0, 1.0)


class Motion:
    """When a leader was last moved: first by more than `takeover` from its rest, then by any part of that.

    Attributes:
        at: the time, of `time.monotonic`; minus infinity where it rests.
    """

    def __init__(self, takeover: float):
        self._takeover, self.at = takeover, -np.inf
        self._anchor: Mapping[str, float] | None = None

    def rest(self) -> None:
        self.at, self._anchor = -np.inf, None

    def take(self, joints: Mapping[str, float]) -> None:
        """A hand has the leader, whose joints are given."""
        self.at, self._anchor = time.monotonic(), joints

    def see(self, joints: Mapping[str, float]) -> None:
        """The joints of the leader, now."""
        if self._anchor is None:
            self._anchor = joints
        needed = self._takeover if self.at == -np.inf else self._takeover / 4
        if max(abs(number - self._anchor[name]) for name, number in joints.items()) > needed:
            self.at, self._anchor = time.monotonic(), joints
