"""Operational-space control of gym-hil's Panda (Khatib 1987), several times faster than gym-hil's own and the same to rounding.

With the arm's Jacobian J, mass matrix M and Λ = (J M⁻¹ Jᵀ)⁻¹, the torques of one physics step are

    τ = Jᵀ Λ (f − J M⁻¹ n) + n + bias,   f = k (goal − pose) − 2 √k velocity,   n = k₀ (home − q) − 2 √k₀ q̇
"""

from __future__ import annotations

from typing import Any

import numpy as np

STIFFNESS = 200.0  # k, of the tool's position and orientation
NULL_STIFFNESS = 0.5  # k₀, of the joints towards home
FULL_COMMAND = 255  # of the gripper, closed
SINGULAR = 1e-2  # the determinant of Λ⁻¹ below which it is inverted without its small singular values


class OperationalSpace:
    """Takes the place of gym-hil's `apply_action`: moves the goal and the gripper's command, and simulates one control step."""

    def __init__(self, task: Any):
        import mujoco
        from scipy import linalg

        lapack: Any = linalg.lapack  # whose types miss its functions
        self._solve = lapack.dposv  # a tenth of numpy.linalg.solve's time at this size
        self._mujoco, self._task, self._model, self._data = mujoco, task, task.model, task.data
        first, last = int(task._panda_dof_ids[0]), int(task._panda_dof_ids[-1])
        self._arm = slice(first, last + 1)
        self._jacobian, self._mass = np.zeros((6, task.model.nv)), np.zeros((task.model.nv, task.model.nv))
        self._rotation = np.zeros((3, 4))  # quaternions: of the tool, of the inverse goal, of the way between
        self._error = np.zeros(6)

    def __call__(self, action: np.ndarray) -> None:
        """One control step by `action` `[7]`: metres that the goal moves by, three unused, and the change of the gripper's command."""
        task, data = self._task, self._data
        data.mocap_pos[0] = np.clip(data.mocap_pos[0] + action[:3], *task._cartesian_bounds)
        gripper = task._gripper_ctrl_id
        data.ctrl[gripper] = np.clip(data.ctrl[gripper] / FULL_COMMAND + action[6], 0.0, 1.0) * FULL_COMMAND
        for _ in range(task._n_substeps):
            data.ctrl[task._panda_ctrl_ids] = self._torques()
            self._mujoco.mj_step(self._model, data)

    def _torques(self) -> np.ndarray:
        data, mujoco = self._data, self._mujoco
        mujoco.mj_jacSite(self._model, data, self._jacobian[:3], self._jacobian[3:], self._task._pinch_site_id)
        mujoco.mj_fullM(self._model, self._mass, data.qM)
        jacobian, velocity = self._jacobian[:, self._arm], data.qvel[self._arm]
        joint = NULL_STIFFNESS * (self._task._home_position - data.qpos[self._arm]) - 2.0 * NULL_STIFFNESS**0.5 * velocity  # [7]
        mobility = self._solve(self._mass[self._arm, self._arm], jacobian.T)[1]  # [7, 6]
        inertia = jacobian @ mobility  # [6, 6], Λ⁻¹
        tool = STIFFNESS * self._pose_error() - 2.0 * STIFFNESS**0.5 * (jacobian @ velocity) - joint @ mobility  # [6]
        factor, force, failed = self._solve(inertia, tool)
        if failed or factor.diagonal().prod() ** 2 < SINGULAR:  # the determinant, from Cholesky's factor
            force = np.linalg.pinv(inertia, rcond=SINGULAR) @ tool
        return force @ jacobian + joint + data.qfrc_bias[self._arm]

    def _pose_error(self) -> np.ndarray:
        """The way from the tool to its goal: metres, and a rotation vector in radians, `[6]`."""
        data, mujoco, error = self._data, self._mujoco, self._error
        site, (tool, inverse_goal, turn) = self._task._pinch_site_id, self._rotation
        np.subtract(data.mocap_pos[0], data.site_xpos[site], out=error[:3])
        mujoco.mju_mat2Quat(tool, data.site_xmat[site])
        mujoco.mju_negQuat(inverse_goal, data.mocap_quat[0])
        mujoco.mju_mulQuat(turn, tool, inverse_goal)
        mujoco.mju_quat2Vel(error[3:], turn, -1.0)
        return error
