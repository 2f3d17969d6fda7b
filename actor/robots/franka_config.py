"""HIL-SERL's configuration of a Franka: a class whose attributes are read as they are, checked, and given a meaning and a unit here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...data.doors.door import Door
from ...data.errors import WarmloopError
from ...data.settings.near_names import did_you_mean

WHERE = "environment.kwargs.config"
CONFIG = Door("a configuration", "a class with HIL-SERL's names, such as RESET_POSE")
IGNORED = {"DISPLAY_IMAGE", "GRASP_POSE", "RESET_PARAM", "LOAD_PARAM"}  # of HIL-SERL's own window, of single tasks, and of set_load


@dataclasses.dataclass(frozen=True)
class FrankaConfig:
    """What a lab's configuration says of its arm, in HIL-SERL's names and units: metres, radians about the fixed axes x, y and z, seconds.

    Attributes:
        server_url: of the robot's server.
        realsense_cameras: by name, the arguments of each camera.
        image_crop: by name of a camera, a function of its picture.
        target_pose: `[6]`, where the task is done.
        reward_threshold: `[6]`, how near the tool must be to it in each number; zeros where something else tells success.
        action_scale: metres, radians and the gripper's factor of an action of 1.
        reset_pose: `[6]`, where an episode begins.
        random_reset: whether that is moved by up to `random_xy_range` and turned about z by up to `random_rz_range`.
        abs_pose_limit_low, abs_pose_limit_high: `[6]`, the box that commanded poses stay in. Of the first angle it bounds the size.
        compliance_param, precision_param: the impedance controller's settings while an episode runs, and on the way to its start.
        gripper_sleep: how long the gripper takes, in which the arm holds still.
        max_episode_length: steps.
        joint_reset_period: episodes between two resets of the joints; 0 for none.
    """

    server_url: str = "http://127.0.0.1:5000/"
    realsense_cameras: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    image_crop: Mapping[str, Callable[[np.ndarray], np.ndarray]] = dataclasses.field(default_factory=dict)
    target_pose: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(6))
    reward_threshold: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(6))
    action_scale: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(3))
    reset_pose: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(6))
    random_reset: bool = False
    random_xy_range: float = 0.0
    random_rz_range: float = 0.0
    abs_pose_limit_high: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(6))
    abs_pose_limit_low: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(6))
    compliance_param: Mapping[str, float] = dataclasses.field(default_factory=dict)
    precision_param: Mapping[str, float] = dataclasses.field(default_factory=dict)
    gripper_sleep: float = 0.6
    max_episode_length: int = 100
    joint_reset_period: int = 0


def read_config(text: str) -> FrankaConfig:
    """What the class MODULE:NAME, or an object of it, says; attributes of other names are a task's own and are left alone.

    Raises:
        WarmloopError: there is none, a name is nearly one of HIL-SERL's, or a value is of another shape or cannot be meant.
    """
    CONFIG.check(text, WHERE)
    found = CONFIG.open(text, WHERE)
    known = {field.name.upper(): field for field in dataclasses.fields(FrankaConfig)}
    given = {name: getattr(found, name) for name in dir(found) if name.isupper()}
    if not given.keys() & known.keys():
        raise CONFIG.refused(text, WHERE, found)
    for name in given.keys() - known.keys() - IGNORED:
        if near := did_you_mean(name, known.keys() - given.keys()).strip(". "):
            raise WarmloopError(f"{text} has {name}, which HIL-SERL's configuration does not know{near if near[0] == ';' else ' ' + near}")
    values = {field.name: _value(text, name, given[name], field) for name, field in known.items() if name in given}
    config = FrankaConfig(**values)
    _check(text, config)
    return config


def _value(text: str, name: str, value: Any, field: dataclasses.Field) -> Any:
    """A value in the type of its field."""
    try:
        if field.type == "np.ndarray":
            wanted = 3 if name == "ACTION_SCALE" else 6
            array = np.asarray(value, np.float64)
            if array.shape != (wanted,) or not np.isfinite(array).all():
                raise ValueError(f"it must be {wanted} numbers")
            return array
        if field.type == "float":
            return float(np.asarray(value, np.float64).reshape(()) if np.ndim(value) == 0 else np.asarray(value, np.float64).item())
        if field.type in ("int", "bool", "str"):
            return {"int": int, "bool": bool, "str": str}[field.type](value)
        return dict(value)
    except (TypeError, ValueError) as error:
        raise WarmloopError(f"{text}.{name} is {value!r:.60}: {error}.") from error


def _check(text: str, config: FrankaConfig) -> None:
    """Raises WarmloopError for values by which an arm would not move, or not where it is meant to."""
    low, high = config.abs_pose_limit_low, config.abs_pose_limit_high
    if (low > high).any() or not (low[:3] < high[:3]).any():
        raise WarmloopError(f"{text}: between ABS_POSE_LIMIT_LOW {low.tolist()} and ABS_POSE_LIMIT_HIGH {high.tolist()} there is no room.")
    if low[3] < 0:
        raise WarmloopError(
            f"{text}: ABS_POSE_LIMIT_LOW[3] is {low[3]:g}; of the first angle the box bounds the size, so that it must not be negative."
        )
    if not (config.action_scale[:2] > 0).any() or (config.action_scale < 0).any():
        raise WarmloopError(f"{text}: ACTION_SCALE is {config.action_scale.tolist()}; an action of 1 must move the arm.")
    if ((config.reset_pose[:3] < low[:3]) | (config.reset_pose[:3] > high[:3])).any():
        raise WarmloopError(f"{text}: RESET_POSE {config.reset_pose[:3].tolist()} is beyond ABS_POSE_LIMIT_LOW or ABS_POSE_LIMIT_HIGH.")
    if config.max_episode_length < 1 or config.gripper_sleep < 0 or config.joint_reset_period < 0:
        raise WarmloopError(f"{text}: MAX_EPISODE_LENGTH must be at least 1, GRIPPER_SLEEP and JOINT_RESET_PERIOD not negative.")
    for name in config.image_crop.keys() - config.realsense_cameras.keys():
        raise WarmloopError(f"{text}: IMAGE_CROP names {name}, and REALSENSE_CAMERAS {', '.join(config.realsense_cameras) or 'none'}.")
