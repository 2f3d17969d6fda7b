"""The connection to a robot of LeRobot: every call in turn, tried again where a packet was lost, and a sentence for each way it fails."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from ...data.errors import EnvironmentFault, WarmloopError
from .lerobot_config import LeRobotConfig
from .lerobot_parts import make_robot

BUSES = ("bus", "left_arm.bus", "right_arm.bus")  # where LeRobot's robots of one and of two arms have them
LOST = (ConnectionError, IndexError)  # of LeRobot's drivers: no answer, or one that is too short since it is another packet's
QUIET_SECONDS, LONGEST_NOISE = 0.06, 0.5  # without an answer, after one was lost; and how long that is waited for at most
REST_SECONDS = 1.0  # for a transaction on its way, where the robot is to be brought to rest
T = TypeVar("T")
log = logging.getLogger(__name__)


class LeRobotLink:
    """One robot. LeRobot's driver answers the packets of one thread at a time, so that its calls are locked.

    A lost packet is asked for again. Where that fails, or a motor refuses, the call is a fault and the connection stays: to connect
    anew switches LeRobot's torque off for a moment. A port that is gone is opened anew by the next `connect`.

    Attributes:
        resting: the robot was brought to rest. Whoever means to move it again takes this back first.
        lost: packets that were asked for again.
    """

    def __init__(self, config: LeRobotConfig):
        self.config, self.resting, self.lost = config, False, 0
        self._robot: Any = None
        self._buses: dict[str, Any] = {}
        self._gone, self._worked, self._lock = False, False, threading.RLock()

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.config.robot, self.config.robot_id, f"at {self.config.port}" if self.config.port else "")))

    @property
    def connected(self) -> bool:
        return self._robot is not None

    def connect(self) -> None:
        """Connects, if it is not, or is no longer.

        Raises:
            WarmloopError: there is no such robot, it is not calibrated, or it has other joints than the configuration names.
            EnvironmentFault: it was connected before, and is not to be had now.
        """
        if self._robot is not None and not self._gone:
            try:
                self.read()
            except EnvironmentFault as error:
                log.warning("%s It is connected anew.", error)
                self._gone = True
        if self._gone:
            self.close()
        if self._robot is None:
            self._robot = self._opened()
            self._buses = buses_of(self._robot)
            self._check_connected()
            self._worked, self._gone = True, False

    def read(self) -> dict[str, Any]:
        """LeRobot's observation, by the names of its features.

        Raises:
            EnvironmentFault: the robot does not answer, or tells what cannot be.
        """
        return self._tried("read", lambda robot: self._plausible(robot.get_observation()))

    def send(self, goal: np.ndarray) -> None:
        """Commands the joints. Raises EnvironmentFault."""
        action = {name: float(number) for name, number in zip(self.config.joints, goal, strict=True)}
        self._tried("command", lambda robot: robot.send_action(action))

    def tables(self) -> dict[str, set[str]]:
        """By bus, the registers that all of its motors have."""
        found = {}
        for name, bus in self._buses.items():
            tables = getattr(bus, "model_ctrl_table", {})
            models = {motor.model for motor in getattr(bus, "motors", {}).values()}
            found[name] = set.intersection(*(set(tables.get(model, ())) for model in models)) if models else set()
        return found

    def register(self, bus: str, name: str) -> Mapping[str, Any]:
        """A register of a bus, by the names of its motors. Raises EnvironmentFault."""
        return self._tried(f"read {name} of", lambda robot: self._buses[bus].sync_read(name))

    def registers(self, name: str) -> list[float]:
        """A register of all motors, in the order of the buses. Raises EnvironmentFault."""
        return [float(number) for bus in self._buses for number in self.register(bus, name).values()]

    def wake(self, held: np.ndarray) -> None:
        """Has the joints hold where they are, and then switches their torque on. Raises EnvironmentFault."""
        self.send(held)
        for name in self._buses:
            self._tried("switch on the torque of", lambda robot, name=name: self._buses[name].enable_torque(num_retry=self.config.retries))

    def rest(self) -> None:
        """Brings the robot to rest, from any thread: it holds where it is, or its torque is switched off.

        Raises:
            EnvironmentFault: it cannot be reached.
        """
        self.resting = True
        if self._robot is None:
            return
        if self.config.at_rest == "relax":
            for name in self._buses:
                self._tried("relax", lambda robot, name=name: self._buses[name].disable_torque(num_retry=self.config.retries), REST_SECONDS)
        else:
            found = self._tried("hold", lambda robot: self._plausible(robot.get_observation()), REST_SECONDS)
            self._tried("hold", lambda robot: robot.send_action({name: found[name] for name in self.config.joints}), REST_SECONDS)

    def close(self) -> None:
        """Ends the connection, also a broken one."""
        robot, self._robot, self._buses, self._gone = self._robot, None, {}, False
        if robot is not None:
            disconnected(robot)

    def _opened(self) -> Any:
        """A robot that is connected. LeRobot asks for no lost packet again while it connects, so that it is asked to connect again."""
        for attempt in range(self.config.retries + 1):
            robot = make_robot(self.config)
            self._check_features(robot)
            try:
                robot.connect(calibrate=False)
                return robot
            except Exception as error:  # of a driver: any kind
                disconnected(robot)
                if not was_lost(error) or attempt == self.config.retries:
                    raise self._not_connected(error) from error
        raise AssertionError

    def _tried(self, what: str, call: Callable[[Any], T], seconds: float = -1.0) -> T:
        """What a call of the driver gives; `seconds` is how long it may wait for another thread's."""
        if not self._lock.acquire(timeout=seconds):
            raise EnvironmentFault(f"The robot {self.name} could not be told to {what}: a call of its driver has not returned.")
        try:
            for attempt in range(self.config.retries + 1):
                if self._robot is None:
                    raise EnvironmentFault(f"The robot {self.name} is not connected.")
                drain(self._buses.values())
                try:
                    found = call(self._robot)
                except Exception as error:  # of a driver: any kind
                    until_quiet(self._buses.values())
                    if not isinstance(error, LOST) or attempt == self.config.retries:
                        self._gone |= not isinstance(error, (*LOST, RuntimeError))
                        raise self._fault(what, error) from error
                    self.lost += 1
                    continue
                if attempt:
                    until_quiet(self._buses.values())
                return found
        finally:
            self._lock.release()
        raise AssertionError

    def _plausible(self, found: dict[str, Any]) -> dict[str, Any]:
        """An observation whose joints are somewhere near their limits: an answer that came too late has other numbers' bytes."""
        for name, low, high in zip(self.config.joints, self.config.low, self.config.high, strict=True):
            number, beyond = float(found[name]), high - low
            if not low - beyond <= number <= high + beyond:
                raise ConnectionError(f"{name} is {number:g}, far beyond {low:g} to {high:g}")
        return found

    def _fault(self, what: str, error: Exception) -> EnvironmentFault:
        if self._gone:
            return EnvironmentFault(f"The robot {self.name} is gone ({type(error).__name__}: {error}); look at its cable and its power.")
        said = " ".join(str(error).split())[:300] or type(error).__name__
        tries = f", after {self.config.retries + 1} tries" if isinstance(error, LOST) else ""
        return EnvironmentFault(f"The robot {self.name} failed to {what}{tries}: {said}")

    def _not_connected(self, error: Exception) -> WarmloopError:
        kind = EnvironmentFault if self._worked else WarmloopError
        hint = "look at its cable and its power" if self._worked else "`lerobot-find-port` names the ports; give environment.kwargs.port"
        return kind(f"The robot {self.name} cannot be connected ({' '.join(str(error).split())[:400] or type(error).__name__}); {hint}.")

    def _check_features(self, robot: Any) -> None:
        """Raises WarmloopError where the robot has not what the configuration names."""
        for name in set(self.config.joints) - set(robot.action_features):
            raise WarmloopError(f'The robot {self.name} is not commanded by "{name}", but by {", ".join(robot.action_features)}.')
        for name in {*self.config.joints, *self.config.state_names} - set(robot.observation_features):
            raise WarmloopError(f'The robot {self.name} does not observe "{name}", but {", ".join(robot.observation_features)}.')

    def _check_connected(self) -> None:
        """Raises WarmloopError where the robot cannot be used as it is; then it is closed."""
        problem, config = "", self.config
        if not self._tried("read the calibration of", lambda robot: getattr(robot, "is_calibrated", True)):
            path = getattr(self._robot, "calibration_fpath", "its file")
            problem = (
                f"is not calibrated as {path} says, or there is no such file; run `lerobot-calibrate --robot.type={config.robot} "
                f"--robot.port={config.port} --robot.id={config.robot_id}`: Enter takes the file over into the motors"
            )
        elif config.at_rest == "relax" and not self._buses:
            problem = 'has no motors\' bus whose torque could be switched off; set environment.kwargs.at_rest="hold"'
        elif missing := sorted(set(config.registers) - set.intersection(*self.tables().values() or [set()])):
            problem = f"has no motors with {missing[0]}, which environment.kwargs.registers names"
        if problem:
            self.close()
            raise WarmloopError(f"The robot {self.name} {problem}.")


def buses_of(robot: Any) -> dict[str, Any]:
    """The motors' buses that a robot has, by where they are."""
    found = {}
    for path in BUSES:
        part = robot
        for name in path.split("."):
            part = getattr(part, name, None)
        if part is not None:
            found[path] = part
    return found


def drain(buses: Iterable[Any]) -> bool:
    """Throws away what came too late, and whether there was any: LeRobot's driver would take it for the answer to its next packet. A
    call that a signal broke into has left the port in use."""
    found = False
    for bus in buses:
        port: Any = getattr(bus, "port_handler", None)
        if getattr(port, "ser", None) is not None:
            port.is_using = False
            with contextlib.suppress(Exception):  # a port that is gone is told by the call itself
                found |= port.ser.in_waiting > 0
                port.ser.reset_input_buffer()
    return found


def until_quiet(buses: Iterable[Any]) -> None:
    """After a loss: waits until the cable is quiet. An answer that was only late may come after the next question, and then what answers
    that."""
    buses, until = list(buses), time.monotonic() + LONGEST_NOISE
    quiet = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < min(quiet, until):
        time.sleep(QUIET_SECONDS / 10)
        if drain(buses):
            quiet = time.monotonic() + QUIET_SECONDS


def was_lost(error: Exception) -> bool:
    """Whether LeRobot failed to connect for a packet that was lost, which may go well another time; a port that is not there is none."""
    return isinstance(error.__cause__ or error, (*LOST, RuntimeError))


def disconnected(device: Any) -> None:
    """Disconnects a device; where the driver fails, since its cable is out, the ports are closed without it."""
    try:
        if device.is_connected:
            device.disconnect()
    except Exception as error:  # of a driver: any kind
        log.warning("%s was not disconnected in order: %s", type(device).__name__, error)
        for bus in buses_of(device).values():
            with contextlib.suppress(Exception):
                bus.port_handler.closePort()
