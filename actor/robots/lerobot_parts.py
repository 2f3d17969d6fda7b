"""LeRobot's robots, cameras and teleoperators, made by the names that LeRobot knows them under. LeRobot is imported when one is made."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from ast import literal_eval
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ...data.doors.door import Door
from ...data.doors.imports import as_sentence
from ...data.errors import WarmloopError
from ...data.settings.near_names import did_you_mean
from .lerobot_config import WHERE, CameraSpec, LeRobotConfig

ROBOT = Door("a robot", "a callable that takes port and id and returns an object with LeRobot's interface of a Robot")
TELEOPERATOR = Door("a teleoperator", "a callable that takes port and id and returns an object with LeRobot's interface of a Teleoperator")
CAMERA = Door("a camera", "a class called with name, source, width, height and fps, whose objects have read() and close(),")
SOURCES = ("index_or_path", "serial_number_or_name", "server_address", "name")  # what LeRobot's kinds of cameras call theirs
NO_RETRIES = {"num_read_retries": 0}  # of LeRobot 0.6 itself: a lost packet is asked for again here, once what came too late is thrown away
PICTURE_MS = 200.0  # within which a camera is asked again


def make_robot(config: LeRobotConfig) -> Any:
    """LeRobot's robot, not connected. With `at_rest="hold"` its torque stays on when it is disconnected.

    Raises:
        WarmloopError: LeRobot is not installed, has no such robot, or its settings are others.
    """
    usual = NO_RETRIES | ({} if config.at_rest == "relax" else {"disable_torque_on_disconnect": False})
    return _device(ROBOT, "robot", config.robot, _named(config), read_options(config.robot_options), usual)


def make_limp_robot(kind: str, port: str, name: str, calibration_dir: str) -> Any:
    """LeRobot's robot, not connected, by its name of the kind or MODULE:NAME; its torque is off when it is disconnected. Raises as
    `make_robot`."""
    named = {"port": port, "id": name, "calibration_dir": Path(calibration_dir) if calibration_dir else None}
    return _device(ROBOT, "robot", kind, {key: value for key, value in named.items() if value}, {}, NO_RETRIES)


def make_teleoperator(kind: str, port: str, name: str, calibration_dir: str, options: Sequence[str] = ()) -> Any:
    """LeRobot's teleoperator, not connected. Raises as `make_robot`."""
    named = {"port": port, "id": name, "calibration_dir": Path(calibration_dir) if calibration_dir else None}
    given = {key: value for key, value in named.items() if value}
    return _device(TELEOPERATOR, "teleoperator", kind, given, read_options(options), NO_RETRIES)


def camera_opener(spec: CameraSpec, config: LeRobotConfig) -> Callable[[], Any]:
    """What opens a camera: LeRobot's, or the class that `config.camera` names."""
    if config.camera:
        CAMERA.check(config.camera, f"{WHERE}.camera")
        kind = CAMERA.open(config.camera, f"{WHERE}.camera")
        return lambda: kind(**{field.name: getattr(spec, field.name) for field in dataclasses.fields(spec) if field.name != "kind"})
    return lambda: LeRobotCamera(spec)


class LeRobotCamera:
    """A camera of LeRobot that is read as `NewestFrame` reads: a wait for a picture has an end, after which there was none."""

    def __init__(self, spec: CameraSpec):
        kind = _choice("lerobot.cameras", "CameraConfig", spec.kind)
        fields = {field.name for field in dataclasses.fields(kind)}
        source = next((name for name in SOURCES if name in fields), "")
        if not source:
            raise WarmloopError(f'{WHERE}.cameras: LeRobot\'s "{spec.kind}" has none of {", ".join(SOURCES)}; name a class as camera.')
        given: Any = int(spec.source) if spec.source.isdigit() and source == "index_or_path" else spec.source
        given = Path(given) if isinstance(given, str) and source == "index_or_path" else given
        numbers = {name: getattr(spec, name) for name in ("width", "height", "fps") if getattr(spec, name)}
        made = importlib.import_module("lerobot.cameras.utils").make_cameras_from_configs({spec.name: kind(**{source: given}, **numbers)})
        self._camera = made[spec.name]
        self._camera.connect()

    def read(self) -> tuple[bool, np.ndarray]:
        """Whether there is a new picture, and it, RGB `[H, W, 3]`."""
        try:
            return True, self._camera.async_read(timeout_ms=PICTURE_MS)
        except TimeoutError:
            return False, np.zeros((0, 0, 3), np.uint8)

    def close(self) -> None:
        self._camera.disconnect()


def read_options(texts: Sequence[str]) -> dict[str, Any]:
    """Settings given as "NAME=VALUE", where VALUE is Python's, or else a text. Raises WarmloopError."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise WarmloopError(f'{WHERE}.robot_options has "{text}"; it must be NAME=VALUE, as use_degrees=True.')
        found[name] = value
        with suppress(ValueError, SyntaxError):
            found[name] = literal_eval(value)
    return found


def _named(config: LeRobotConfig) -> dict[str, Any]:
    """Which robot of its kind it is."""
    folder = Path(config.calibration_dir) if config.calibration_dir else None
    return {name: value for name, value in (("port", config.port), ("id", config.robot_id), ("calibration_dir", folder)) if value}


def _device(door: Door, noun: str, kind: str, named: dict[str, Any], options: dict[str, Any], usual: dict[str, Any]) -> Any:
    """A device by its kind. `usual` are settings that not all kinds have."""
    where = f"{WHERE}.{noun}"
    if ":" in kind:
        door.check(kind, where)
        made = door.open(kind, where)
        return door.call(kind, where, "called with its port and id", lambda: made(**named, **options))
    config = _choice(f"lerobot.{noun}s", f"{noun.title()}Config", kind)
    fields = {field.name for field in dataclasses.fields(config)}
    for name in (named | options).keys() - fields:
        raise WarmloopError(f'LeRobot\'s {noun} "{kind}" has no setting "{name}"{did_you_mean(name, fields)}')
    given = {name: value for name, value in usual.items() if name in fields} | named | options
    with as_sentence(f'LeRobot\'s {noun} "{kind}", made with {", ".join(map(str, given)) or "no settings"}, failed'):
        make = getattr(importlib.import_module(f"lerobot.{noun}s.utils"), f"make_{noun}_from_config")
        return make(config(**given))


def _choice(package: str, base: str, kind: str) -> Any:
    """The class of LeRobot's configurations that `kind` is the name of; its module registers it when it is imported."""
    try:
        found = importlib.import_module(package)
        choices = getattr(importlib.import_module(f"{package}.{'configs' if base == 'CameraConfig' else 'config'}"), base)
    except ImportError as error:
        raise WarmloopError(f'The environment "LeRobot-v0" needs LeRobot ({error}); docs/howto/so101.md says how to install it.') from error
    missing: list[str] = []
    for module in pkgutil.iter_modules(found.__path__):
        if kind in choices.get_known_choices():
            break
        try:
            importlib.import_module(f"{package}.{module.name}")
        except ImportError as error:
            missing.append(f"{module.name} ({error})")
    known = choices.get_known_choices()
    if kind not in known:
        importlib.import_module("lerobot.utils.import_utils").register_third_party_plugins()
    if kind not in known:
        without = f" Not importable: {'; '.join(missing)}." if missing else ""
        raise WarmloopError(f'LeRobot has no {package.rpartition(".")[2][:-1]} "{kind}"{did_you_mean(kind, known)}{without}')
    return known[kind]
