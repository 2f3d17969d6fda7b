"""The tool's motion as a motion of the joints: damped least squares on the arm's MJCF."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ...data.errors import WarmloopError
from .lerobot_config import WHERE, LeRobotConfig

mujoco: Any = import_module("mujoco")  # whose types miss some of it
ROUNDS = 5  # of the iteration, for one step of the tool
DAMPING = 0.02  # λ, in metres a radian: near a singular pose joints stay slow
LEVER = 0.1  # metres that one radian of turn weighs as much as: an arm of five joints cannot have every turn


class Effector:
    """Finds joints for a motion of a site or a body: minimizes |J dq − e|² + λ² |dq|² a few times, with the error e of place and turn.

    Joints are in degrees, with the model's zeros and signs, as LeRobot has SO-101's after its calibration.

    Raises:
        WarmloopError: there is no such model, or it lacks the frame or a joint.
    """

    def __init__(self, config: LeRobotConfig):
        path = _file(config.model)
        try:
            self._model = mujoco.MjModel.from_xml_path(str(path))
        except ValueError as error:
            raise WarmloopError(f"{WHERE}.model={config.model} is no MJCF that MuJoCo reads: {error}.") from error
        self._data = mujoco.MjData(self._model)
        self._moving = [place for place, name in enumerate(config.joints) if name != config.gripper]
        joints = [self._named(mujoco.mjtObj.mjOBJ_JOINT, config.joints[place].partition(".")[0]) for place in self._moving]
        self._places = [int(self._model.jnt_qposadr[joint]) for joint in joints]
        self._columns = [int(self._model.jnt_dofadr[joint]) for joint in joints]
        self._limits = np.radians([np.array(limits)[self._moving] for limits in (config.low, config.high)])
        self._box = (config.workspace_low, config.workspace_high) if config.workspace_low else (-np.inf, np.inf)
        self._site = mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_SITE, config.frame)
        self._body = self._named(mujoco.mjtObj.mjOBJ_BODY, config.frame) if self._site < 0 else -1

    def moved(self, joints: np.ndarray, motion: np.ndarray) -> np.ndarray:
        """Joints `[N]` that have the tool shifted by `motion[:3]` metres and turned by the vector `motion[3:]` radians, about the base's
        axes, from where it is at `joints` `[N]`, within the workspace; as near as the arm can."""
        angles = np.radians(joints[self._moving])
        place, turn = self._pose(angles)
        rotation = np.zeros(9)
        quaternion = np.zeros(4)
        mujoco.mju_axisAngle2Quat(quaternion, _unit(motion[3:]), float(np.linalg.norm(motion[3:])))
        mujoco.mju_quat2Mat(rotation, quaternion)
        goal, facing = np.clip(place + motion[:3], *self._box), rotation.reshape(3, 3) @ turn
        for _ in range(ROUNDS):
            place, turn = self._pose(angles)
            error = np.append(goal - place, LEVER * _vector(facing @ turn.T))
            jacobian = self._jacobian()
            change = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + DAMPING**2 * np.eye(6), error)
            angles = np.clip(angles + change, *self._limits)
        found = joints.copy()
        found[self._moving] = np.degrees(angles)
        return found

    def place(self, joints: np.ndarray) -> np.ndarray:
        """`[3]` metres: where the tool is at joints `[N]`."""
        return self._pose(np.radians(joints[self._moving]))[0]

    def _pose(self, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Place `[3]` and rotation `[3, 3]` of the frame."""
        self._data.qpos[self._places] = angles
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        if self._site >= 0:
            return self._data.site_xpos[self._site].copy(), self._data.site_xmat[self._site].reshape(3, 3).copy()
        return self._data.xpos[self._body].copy(), self._data.xmat[self._body].reshape(3, 3).copy()

    def _jacobian(self) -> np.ndarray:
        """`[6, moving]` of place, and of turn in the units of `LEVER`."""
        shift, turn = np.zeros((3, self._model.nv)), np.zeros((3, self._model.nv))
        if self._site >= 0:
            mujoco.mj_jacSite(self._model, self._data, shift, turn, self._site)
        else:
            mujoco.mj_jacBody(self._model, self._data, shift, turn, self._body)
        return np.concatenate([shift, LEVER * turn])[:, self._columns]

    def _named(self, kind: Any, name: str) -> int:
        found = mujoco.mj_name2id(self._model, kind, name)
        if found < 0:
            what = "joint" if kind == mujoco.mjtObj.mjOBJ_JOINT else "site or body"
            raise WarmloopError(f'The model of {WHERE}.model has no {what} "{name}".')
        return found


def _file(text: str) -> Path:
    """The file that a path names, or PACKAGE:PATH within an installed package."""
    package, colon, inside = text.partition(":")
    path = Path(text).expanduser()
    if colon and not path.exists():
        spec = find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise WarmloopError(f"{WHERE}.model={text}: there is no package {package}; install it, or give the path of a file.")
        path = Path(spec.submodule_search_locations[0]) / inside
    if not path.is_file():
        raise WarmloopError(f"{WHERE}.model={text}: there is no file {path}.")
    return path


def _unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-12 else np.array([1.0, 0.0, 0.0])


def _vector(rotation: np.ndarray) -> np.ndarray:
    """The rotation vector `[3]` of a rotation `[3, 3]`."""
    quaternion, found = np.zeros(4), np.zeros(3)
    mujoco.mju_mat2Quat(quaternion, rotation.reshape(9))
    mujoco.mju_quat2Vel(found, quaternion, 1.0)
    return found
