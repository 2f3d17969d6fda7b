"""A device that may be unplugged: its loss costs the episode, and it is opened again before the next one."""

from __future__ import annotations

from collections.abc import Callable

from ...data.errors import EnvironmentFault, WarmloopError
from .operator import Device, Reading


class Plugged:
    """A device and how it is opened. Raises WarmloopError where it cannot be opened at first."""

    def __init__(self, name: str, open_device: Callable[[], Device]):
        self._name, self._open = name, open_device
        self._device: Device | None = open_device()

    def ready(self) -> None:
        """Opens it again where it was lost. Raises EnvironmentFault where it is still not there."""
        if self._device is not None:
            return
        try:
            self._device = self._open()
        except WarmloopError as error:
            raise EnvironmentFault(f"The {self._name} is not back: {error}") from error

    def clear(self) -> None:
        if self._device is not None:
            self._device.clear()

    def read(self) -> Reading:
        """Its state. Raises EnvironmentFault where it is gone."""
        if self._device is None:
            raise EnvironmentFault(f"The {self._name} is gone.")
        try:
            return self._device.read()
        except WarmloopError as error:
            self.close()
            raise EnvironmentFault(f"The {self._name} was lost: {error}") from error

    def close(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            device.close()
