"""A person at one or several devices, as an intervener."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from ...data.errors import WarmloopError
from ...data.transition import PyTree
from ..intervention.intervention import Command, Signal
from .axes import GRIPPER, MOTIONS, Axes

GRIPPERS = ("momentary", "sticky")
Key = TypeVar("Key", str, int)  # as a device calls it


class Reading(NamedTuple):
    """What a device says at one moment.

    Attributes:
        motions: `[7]` in [-1, 1], in the order of `MOTIONS`: x forward, y left, z up, turns by the right hand about them, and the gripper,
            which closes with 1 and opens with -1.
        active: the person is acting.
        switches: how often the person went over to the other arm since the last reading.
        signal: the person's word on the episode since the last reading.
    """

    motions: np.ndarray
    active: bool
    switches: int = 0
    signal: Signal | None = None


class Said(Generic[Key]):
    """The keys of one device that were pressed since it was last asked: its thread adds them, the control loop takes them."""

    def __init__(self, signals: Mapping[Key, Signal]):
        self._signals, self._pressed = signals, deque[Key]()

    def __len__(self) -> int:
        return len(self._pressed)

    def add(self, keys: Iterable[Key]) -> None:
        self._pressed.extend(keys)

    def clear(self) -> None:
        self._pressed.clear()

    def take(self) -> tuple[list[Key], Signal | None]:
        """The keys in their order, and the last word among them."""
        keys = [self._pressed.popleft() for _ in range(len(self._pressed))]
        return keys, next((self._signals[key] for key in reversed(keys) if key in self._signals), None)


class Device(Protocol):
    """Something to move a robot with, which a thread of its own listens to."""

    def clear(self) -> None:
        """Forgets what was said until now, not what is held."""
        ...

    def read(self) -> Reading:
        """Its state, at once. Raises WarmloopError where the device is gone."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Reopening(Protocol):
    """A device that may be lost, and opened again."""

    def ready(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class OperatorConfig:
    """How a person's devices move the robot.

    Attributes:
        speed: factor on all motions but the gripper's, in (0, 1].
        axes: as `Axes.parse` takes it; "" for the usual ones.
        gripper: "momentary": a gripper moves while its key is held, and 0 is sent otherwise; "sticky": the last command goes on, at the
            takeover the policy's, for grippers that let go at 0.
        rate: steps per second that the environment is held to, for simulators that would outrun a person; 0 for its own pace.
    """

    speed: float = 1.0
    axes: str = ""
    gripper: str = "momentary"
    rate: float = 0.0

    def __post_init__(self):
        if not 0 < self.speed <= 1:
            raise WarmloopError(f"The speed of a device is {self.speed}; it must be above 0, and at most 1.")
        if self.gripper not in GRIPPERS:
            raise WarmloopError(f'The gripper of a device is "{self.gripper}"; it must be {" or ".join(GRIPPERS)}.')
        if not (np.isfinite(self.rate) and self.rate >= 0):
            raise WarmloopError(f"The rate of a device is {self.rate} steps per second; it must be 0 (the environment's own) or more.")


class Operator:
    """The person: what any of the devices says counts, the motions of several add up.

    Raises:
        WarmloopError: as `Axes.parse`.
    """

    def __init__(self, devices: Sequence[Device], action_dim: int, config: OperatorConfig | None = None):
        self._devices, self._config = tuple(devices), config or OperatorConfig()
        self._axes, self._arm, self._acting = Axes.parse(self._config.axes, action_dim), 0, False
        self._grippers = np.zeros(action_dim, np.float32)
        self._scale = np.full(len(MOTIONS), self._config.speed)
        self._scale[GRIPPER] = 1.0

    def ready(self) -> None:
        """Opens a device again that was lost. Raises EnvironmentFault where it is still not there."""
        for device in self._devices:
            if isinstance(device, Reopening):
                device.ready()

    def begin(self, seed: int) -> None:
        self._arm, self._acting, self._due = 0, False, time.monotonic()
        for device in self._devices:
            device.clear()

    def __call__(self, observation: PyTree, action: np.ndarray, step: int) -> Command:
        self._keep_pace()
        readings = [device.read() for device in self._devices]
        signal = next((reading.signal for reading in readings if reading.signal is not None), None)
        self._arm = (self._arm + sum(reading.switches for reading in readings)) % self._axes.arms
        began = not self._acting
        self._acting = any(reading.active for reading in readings)
        if not self._acting:
            return Command(None, signal)
        motions = np.clip(self._scale * sum(reading.motions for reading in readings), -1.0, 1.0)
        moved = self._axes.action(motions, self._arm)
        if self._config.gripper == "sticky":
            if began:
                self._grippers = np.asarray(action, np.float32)
            grippers = self._axes.grippers()
            self._grippers = np.where(moved != 0, moved, self._grippers)
            moved = np.where(grippers, self._grippers, moved)
        return Command(moved, signal)

    def close(self) -> None:
        for device in self._devices:
            device.close()

    def _keep_pace(self) -> None:
        if self._config.rate:
            time.sleep(max(0.0, self._due - time.monotonic()))
            self._due = max(self._due, time.monotonic()) + 1.0 / self._config.rate
