"""Rotations as unit quaternions, matrices, Euler angles and six numbers; single ones, in float64, by SciPy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

ORDERS = ("xyzw", "wxyz")


def _rotation() -> Any:
    """SciPy's class, which takes a fifth of a second to import: commands without poses do without it."""
    from scipy.spatial.transform import Rotation

    return Rotation


def matrix_of(quaternion: np.ndarray) -> np.ndarray:
    """The rotation matrix `[3, 3]` of a quaternion `[4]`, x, y, z and w, of any length; zeros, from a sensor that has not spoken yet,
    are no rotation."""
    return _rotation().from_quat(quaternion).as_matrix() if np.any(quaternion) else np.eye(3)


def quaternion_of(matrix: np.ndarray) -> np.ndarray:
    """The unit quaternion `[4]`, x, y, z and w ≥ 0, of a rotation matrix `[3, 3]`."""
    return _rotation().from_matrix(matrix).as_quat(canonical=True)


def euler_of(matrix: np.ndarray) -> np.ndarray:
    """The angles `[3]` in radians about the fixed axes x, then y, then z, as HIL-SERL has them; where y is ±π/2, z is 0."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # of that pole
        return _rotation().from_matrix(matrix).as_euler("xyz")


def six_numbers_of(matrix: np.ndarray) -> np.ndarray:
    """The matrix's first two columns, one after the other, `[6]`: continuous in the rotation (Zhou et al. 2019)."""
    return matrix[:, :2].T.ravel()


def reordered(quaternion: np.ndarray, order: str) -> np.ndarray:
    """A quaternion given in `order`, as x, y, z and w."""
    return quaternion if order == "xyzw" else quaternion[[1, 2, 3, 0]]
