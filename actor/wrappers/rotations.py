"""Rotations as unit quaternions, matrices, Euler angles and six numbers; single ones, in float64."""

from __future__ import annotations

import numpy as np

ORDERS = ("xyzw", "wxyz")
NEXT, AFTER = [1, 2, 0], [2, 0, 1]


def matrix_of(quaternion: np.ndarray) -> np.ndarray:
    """The rotation matrix `[3, 3]` of a quaternion `[4]`, x, y, z and w, of any length but 0."""
    norm = np.linalg.norm(quaternion)
    *axis, w = quaternion / norm if norm > 0 else (0.0, 0.0, 0.0, 1.0)  # a sensor that has not spoken yet gives zeros
    v = np.array(axis)
    cross = np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
    return (w * w - v @ v) * np.eye(3) + 2.0 * np.outer(v, v) + 2.0 * w * cross


def quaternion_of(matrix: np.ndarray) -> np.ndarray:
    """The unit quaternion `[4]`, x, y, z and w ≥ 0, of a rotation matrix `[3, 3]` (Shepperd 1978: from the largest of the four)."""
    diagonal, trace = np.diag(matrix), np.trace(matrix)
    squares = np.append(1.0 + 2.0 * diagonal - trace, 1.0 + trace)  # 4 x², 4 y², 4 z², 4 w²
    largest = int(np.argmax(squares))
    sums, differences = matrix[NEXT, AFTER] + matrix[AFTER, NEXT], matrix[AFTER, NEXT] - matrix[NEXT, AFTER]
    if largest == 3:
        quaternion = np.append(differences, squares[3])
    else:
        i, j, k = largest, NEXT[largest], AFTER[largest]
        quaternion = np.empty(4)
        quaternion[[i, j, k, 3]] = squares[i], sums[k], sums[j], differences[i]
    quaternion /= np.linalg.norm(quaternion)
    return quaternion if quaternion[3] >= 0 else -quaternion


def euler_of(matrix: np.ndarray) -> np.ndarray:
    """The angles `[3]` in radians about the fixed axes x, then y, then z, as HIL-SERL has them; where y is ±π/2, z is 0."""
    cosine = np.hypot(matrix[0, 0], matrix[1, 0])
    y = np.arctan2(-matrix[2, 0], cosine)
    if cosine < 1e-9:
        return np.array([np.arctan2(-matrix[1, 2], matrix[1, 1]), y, 0.0])
    return np.array([np.arctan2(matrix[2, 1], matrix[2, 2]), y, np.arctan2(matrix[1, 0], matrix[0, 0])])


def six_numbers_of(matrix: np.ndarray) -> np.ndarray:
    """The matrix's first two columns, one after the other, `[6]`: continuous in the rotation (Zhou et al. 2019)."""
    return matrix[:, :2].T.ravel()


def reordered(quaternion: np.ndarray, order: str) -> np.ndarray:
    """A quaternion given in `order`, as x, y, z and w."""
    return quaternion if order == "xyzw" else quaternion[[1, 2, 3, 0]]
