"""Devices by which a person takes over, and the person as an intervener."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .axes import Axes
from .operator import Device, Operator, OperatorConfig
from .plugged import Plugged


def _keyboard() -> tuple[Callable[[], Device], str]:
    from . import keyboard

    return keyboard.Keyboard, keyboard.HELP


def _gamepad() -> tuple[Callable[[], Device], str]:
    from . import gamepad

    return gamepad.Gamepad, gamepad.HELP


def _spacemouse() -> tuple[Callable[[], Device], str]:
    from . import spacemouse

    return spacemouse.SpaceMouse, spacemouse.HELP


def _terminal() -> tuple[Callable[[], Device], str]:
    from . import terminal

    return terminal.Terminal, terminal.HELP


DEVICES = {"keyboard": _keyboard, "terminal": _terminal, "gamepad": _gamepad, "spacemouse": _spacemouse}


def open_devices(names: Sequence[str], action_dim: int, config: OperatorConfig) -> Operator:
    """The person at the devices of these names. Raises WarmloopError as they do, and where the axes do not fit `action_dim`."""
    Axes.parse(config.axes, action_dim)
    opened: list[Device] = []
    try:
        for name in names:
            opened.append(Plugged(name, DEVICES[name]()[0]))
        return Operator(opened, action_dim, config)
    except BaseException:
        for device in opened:
            device.close()
        raise


def manual(names: Sequence[str]) -> str:
    """What the keys of these devices do."""
    return "\n".join(f"{name}\n{DEVICES[name]()[1]}\n" for name in names)
