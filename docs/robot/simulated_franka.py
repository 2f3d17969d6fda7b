"""A simulated Franka with a gripper and a cube, behind HIL-SERL's HTTP interface.

    python docs/robot/simulated_franka.py --port=5100 --step=0.1

The server is that of fake_franka.py, with MuJoCo behind it in place of a lag; the MJCF and meshes are those of gym-hil (Apache-2.0). The
arm is under a Cartesian impedance controller, as HIL-SERL's is: the torques are Jᵀ(K e − D ẋ), what gravity needs, and a weak pull
towards the home pose where the tool does not feel it. With `--step` the arm's time passes by that much at each commanded pose, and by
half a second at each command of the gripper, and not otherwise; without it, its time is ours. `cube` tells the cube's place and turn, as a
tracker of a tag on it would, and `place` puts it on the table. Places are in metres in the frame of the arm's base.
"""

from __future__ import annotations

import argparse
import threading
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from fake_franka import GRIPPER_SECONDS, Arm, Robot, serve
from scipy.spatial.transform import Rotation

mujoco: Any = import_module("mujoco")  # whose types miss some of it
TIMESTEP = 0.002  # seconds
HOME = np.array([0.0, 0.195, 0.0, -2.43, 0.0, 2.62, 0.785])  # radians: the tool points down
STIFFNESS = {"translational_stiffness": 2000.0, "translational_damping": 89.0, "rotational_stiffness": 150.0, "rotational_damping": 7.0}
FARTHEST = np.array([0.02, 0.2])  # metres and radians of an error that counts: what the controller clips it to
PULL, SLACK = 2.0, 2.0  # N·m a radian towards the home pose, and N·m s a radian against a motion
HALF = 0.02  # metres, of the cube's edge
OPEN, SHUT = 0.0, 0.8  # radians of the gripper's driver
FULL = 255.0  # of the gripper's command: shut
LONGEST = 2.0  # seconds that are simulated after a silence, in which all has come to rest


class Scene:
    """The arm, its goal and the cube. All may be done from any thread.

    Attributes:
        goal: the tool's place `[3]` and turn, where the controller brings it.
        shut: whether the gripper closes.
        gains: the controller's, by the names of serl_franka_controllers.
    """

    def __init__(self) -> None:
        self._model = mujoco.MjModel.from_xml_path(str(scene_file()))
        self._data, self.lock = mujoco.MjData(self._model), threading.RLock()
        self._model.opt.timestep = TIMESTEP
        joints = [self._model.joint(f"joint{number}") for number in range(1, 8)]
        self._places, self._columns = ([int(getattr(one, kind)[0]) for one in joints] for kind in ("qposadr", "dofadr"))
        self._driver, self._site = int(self._model.joint("right_driver_joint").qposadr[0]), int(self._model.site("pinch").id)
        self._motors = [int(self._model.actuator(f"actuator{number}").id) for number in range(1, 8)]
        self._fingers, self._cube = int(self._model.actuator("fingers_actuator").id), int(self._model.joint("block").qposadr[0])
        self._jacobian, self._left = np.zeros((6, self._model.nv)), 0.0
        self.shut, self.gains = False, dict(STIFFNESS)
        self._data.qpos[self._places] = HOME
        self.place(0.5, 0.0, 0.0)
        self.goal = self.tool

    @property
    def tool(self) -> tuple[np.ndarray, Rotation]:
        """The tool's place `[3]` and turn."""
        with self.lock:
            matrix = self._data.site_xmat[self._site].reshape(3, 3)
            return self._data.site_xpos[self._site].copy(), Rotation.from_matrix(matrix)

    @property
    def velocity(self) -> np.ndarray:
        """`[6]` metres and radians a second, of the tool."""
        with self.lock:
            return self._moved_by()[:, self._columns] @ self._data.qvel[self._columns]

    @property
    def wrench(self) -> np.ndarray:
        """`[6]` newtons and newton metres with which the controller pulls the tool."""
        with self.lock:
            return self._wanted(self._moved_by()[:, self._columns] @ self._data.qvel[self._columns])

    @property
    def joints(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Angles `[7]`, speeds `[7]`, and the tool's Jacobian `[6, 7]`."""
        with self.lock:
            return self._data.qpos[self._places].copy(), self._data.qvel[self._columns].copy(), self._moved_by()[:, self._columns]

    @property
    def opening(self) -> float:
        """The gripper's: 1 is open, 0 is shut."""
        return 1.0 - float(np.clip((self._data.qpos[self._driver] - OPEN) / (SHUT - OPEN), 0.0, 1.0))

    def cube(self) -> dict[str, Any]:
        """The cube's `position` `[3]`, and its `turn` about z."""
        with self.lock:
            place, (w, x, y, z) = self._data.qpos[self._cube : self._cube + 3], self._data.qpos[self._cube + 3 : self._cube + 7]
            return {"position": place.tolist(), "turn": float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))}

    def place(self, x: float, y: float, turn: float) -> None:
        """Puts the cube on the table."""
        with self.lock:
            self._data.qpos[self._cube : self._cube + 7] = (x, y, HALF, np.cos(turn / 2), 0.0, 0.0, np.sin(turn / 2))
            first = int(self._model.joint("block").dofadr[0])
            self._data.qvel[first : first + 6] = 0.0
            mujoco.mj_forward(self._model, self._data)

    def go_home(self) -> None:
        """The joints are at their home pose, at rest, and the controller holds them there."""
        with self.lock:
            self._data.qpos[self._places], self._data.qvel[self._columns] = HOME, 0.0
            mujoco.mj_forward(self._model, self._data)
            self.goal = self.tool

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        with self.lock:
            self._left += seconds
            self._data.ctrl[self._fingers] = FULL * self.shut
            while self._left >= TIMESTEP:
                self._data.ctrl[self._motors] = self._torques()
                mujoco.mj_step(self._model, self._data)
                self._left -= TIMESTEP

    def _torques(self) -> np.ndarray:
        """`[7]` for the joints."""
        jacobian, speeds = self._moved_by()[:, self._columns], self._data.qvel[self._columns]
        angles = self._data.qpos[self._places]
        own = PULL * (HOME - angles) - SLACK * speeds
        unfelt = own - jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-6 * np.eye(6), jacobian @ own)
        return jacobian.T @ self._wanted(jacobian @ speeds) + unfelt + self._data.qfrc_bias[self._columns]

    def _wanted(self, velocity: np.ndarray) -> np.ndarray:
        """`[6]`: K e − D ẋ."""
        place, turn = self.goal[0], self.goal[1].as_matrix()
        away, error = np.zeros(4), np.zeros(3)
        mujoco.mju_mat2Quat(away, (turn @ self._data.site_xmat[self._site].reshape(3, 3).T).ravel())
        mujoco.mju_quat2Vel(error, away, 1.0)
        shift = np.clip(place - self._data.site_xpos[self._site], -FARTHEST[0], FARTHEST[0])
        error = np.clip(error, -FARTHEST[1], FARTHEST[1])
        gains = self.gains
        force = gains["translational_stiffness"] * shift - gains["translational_damping"] * velocity[:3]
        return np.append(force, gains["rotational_stiffness"] * error - gains["rotational_damping"] * velocity[3:])

    def _moved_by(self) -> np.ndarray:
        """`[6, nv]`: how the tool moves by each joint."""
        mujoco.mj_jacSite(self._model, self._data, self._jacobian[:3], self._jacobian[3:], self._site)
        return self._jacobian


class SimulatedArm(Arm):
    """The arm of a scene, as the server sees it.

    Args:
        scene: the arm and what is around it.
        step: seconds that pass at each commanded pose; 0 where time passes as ours does.
    """

    def __init__(self, scene: Scene, step: float):
        super().__init__(1.0)
        self.scene, self.step = scene, step
        self.target = scene.goal
        self._look()

    def advance(self) -> None:
        passed, self.now = time.monotonic() - self.now, time.monotonic()
        if not self.step:
            self.spend(min(passed, LONGEST))

    def spend(self, seconds: float) -> None:
        """Lets time pass, under what was commanded."""
        self.scene.goal, self.scene.shut = self.target, self.opening < 0.5
        self.scene.gains |= {name: float(self.parameters[name]) for name in STIFFNESS.keys() & self.parameters.keys()}
        self.scene.advance(seconds)
        self._look()

    def go_home(self) -> None:
        self.scene.go_home()
        self.target = self.scene.goal
        self._look()

    def state(self) -> dict[str, Any]:
        wrench, (angles, speeds, jacobian) = self.scene.wrench, self.scene.joints
        joints = {"q": angles.tolist(), "dq": speeds.tolist(), "jacobian": jacobian.tolist()}
        return super().state() | {"force": wrench[:3].tolist(), "torque": wrench[3:].tolist()} | joints

    def _look(self) -> None:
        (self.place, self.turn), self.velocity, self.gripper = self.scene.tool, self.scene.velocity, self.scene.opening


class SimulatedFranka(Robot):
    """The server, and the tracker of the cube."""

    def __init__(self, port: int, step: float = 0.0):
        self._step = step
        super().__init__(port)

    def made_arm(self, speed: float) -> Arm:
        return SimulatedArm(Scene(), self._step)

    def answer(self, what: str, body: dict[str, Any]) -> dict[str, Any] | str | None:
        arm: Any = self.arm
        with arm.lock:
            match what:
                case "cube":
                    arm.advance()
                    return arm.scene.cube()
                case "place":
                    arm.scene.place(float(body["x"]), float(body["y"]), float(body["turn"]))
                    return arm.scene.cube()
                case "jointreset":
                    arm.go_home()
        told = super().answer(what, body)
        with arm.lock:
            if self._step and what in ("pose", "open_gripper", "close_gripper"):
                arm.spend(self._step if what == "pose" else GRIPPER_SECONDS)
        return told


def scene_file() -> Path:
    """The MJCF in the installed gym-hil."""
    found = find_spec("gym_hil")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("The simulated Franka needs gym-hil's arm and meshes: pip install 'warmloop[robotics]'")
    return Path(found.submodule_search_locations[0]) / "assets" / "scene.xml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=5100, help="where it listens; 0 takes any free one (%(default)s)")
    parser.add_argument("--step", type=float, default=0.0, help="seconds that pass at each commanded pose; 0: as ours do (%(default)s)")
    given = parser.parse_args()
    serve(SimulatedFranka(given.port, given.step))


if __name__ == "__main__":
    main()
