"""Camera-to-world poses, [tx ty tz qx qy qz qw] as in TUM files: optical frame, world z up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def rotation_matrix(quaternion: Array) -> Array:
    """Rotation (3, 3) of a unit quaternion x y z w."""
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _product(a: Array, b: Array) -> Array:
    """Quaternion product a b, (..., 4) x y z w."""
    ax, ay, az, aw = np.moveaxis(a, -1, 0)
    bx, by, bz, bw = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ],
        axis=-1,
    )


def _about(axis: int, angle: Array) -> Array:
    turn = np.zeros((*angle.shape, 4))
    turn[..., axis] = np.sin(angle / 2)
    turn[..., 3] = np.cos(angle / 2)
    return turn


def camera_pose(position: Array, yaw: Array, pitch: Array, roll: Array) -> Array:
    """Poses (..., 7) of cameras at `position` (..., 3); angles (...) in radians.

    Yaw 0 looks along world x and grows to the left, pitch grows upwards, roll turns the camera
    clockwise about its optical axis. Continuous angles give continuous quaternions.
    """
    # Optical axes of a camera that looks along x: right is -y, down is -z.
    level = np.array([-0.5, 0.5, -0.5, 0.5])
    turn = _product(_about(2, yaw), _about(1, -pitch))
    return np.concatenate([position, _product(_product(turn, level), _about(2, roll))], axis=-1)
