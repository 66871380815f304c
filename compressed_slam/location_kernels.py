"""One pose among known ones, compiled for the CPU; `compressed_slam.location` says what it is.

Poses are (7,) float64 `[tx ty tz qx qy qz qw]`, world to camera, as in `compressed_slam.se3`;
pixels are flattened, P = h * w. What is summed is summed in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from edge_runtime.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

_MIN_DEPTH_RATIO = 0.2  # as in `compressed_slam.projection`
_SMALL = 1e-8  # squared angle under which the series' first terms are exact


@njit()
def _multiply(a: Floats, b: Floats) -> Floats:
    """The product of two quaternions x y z w, of unit length."""
    product = np.empty(4)
    product[0] = a[3] * b[0] + b[3] * a[0] + a[1] * b[2] - a[2] * b[1]
    product[1] = a[3] * b[1] + b[3] * a[1] + a[2] * b[0] - a[0] * b[2]
    product[2] = a[3] * b[2] + b[3] * a[2] + a[0] * b[1] - a[1] * b[0]
    product[3] = a[3] * b[3] - a[0] * b[0] - a[1] * b[1] - a[2] * b[2]
    return product / np.sqrt((product * product).sum())


@njit()
def _rotation(q: Floats) -> Floats:
    x, y, z, w = q[0], q[1], q[2], q[3]
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@njit()
def _turn(matrix: Floats, vector: Floats) -> Floats:
    turned = np.zeros(3)
    for i in range(3):
        for j in range(3):
            turned[i] += matrix[i, j] * vector[j]
    return turned


@njit()
def _cross(a: Floats, b: Floats) -> Floats:
    return np.array(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    )


@njit()
def _compose(a: Floats, b: Floats) -> Floats:
    pose = np.empty(7)
    pose[:3] = _turn(_rotation(a[3:]), b[:3]) + a[:3]
    pose[3:] = _multiply(a[3:], b[3:])
    return pose


@njit()
def _inverse(a: Floats) -> Floats:
    back = np.array([-a[3], -a[4], -a[5], a[6]])
    pose = np.empty(7)
    pose[:3] = -_turn(_rotation(back), a[:3])
    pose[3:] = back
    return pose


@njit()
def _exp(xi: Floats) -> Floats:
    moved, turn = xi[:3], xi[3:]
    squared = (turn * turn).sum()
    angle = np.sqrt(squared)
    if squared < _SMALL:
        half, first, second = 0.5 - squared / 48, 0.5 - squared / 24, 1 / 6 - squared / 120
    else:
        half = np.sin(0.5 * angle) / angle
        first = 2 * half * half
        second = (angle - np.sin(angle)) / (angle * squared)
    once = _cross(turn, moved)
    pose = np.empty(7)
    pose[:3] = moved + first * once + second * _cross(turn, once)
    pose[3:6] = half * turn
    pose[6] = np.cos(0.5 * angle)
    return pose


@compiled(nogil=True)
def see(  # noqa: PLR0917 - numba takes keywords, but slowly
    poses: Floats, pose: Floats, disps: Floats, intrinsics: Floats, width: int, coords: Floats
) -> None:
    """Find the pixels of known frames in the one at `pose`, as `projection.project` does.

    Args:
        poses: (K, 7) of the known frames.
        pose: (7,).
        disps: (K, P).
        intrinsics: (4,) fx fy cx cy.
        width: of the maps.
        coords: (K, P, 2) is filled: x y.
    """
    fx, fy, cx, cy = intrinsics
    for k in range(len(poses)):
        relative = _compose(pose, _inverse(poses[k]))
        r, t = _rotation(relative[3:]), relative[:3]
        for p in range(disps.shape[1]):
            x, y, d = (p % width - cx) / fx, (p // width - cy) / fy, disps[k, p]
            depth = r[2, 0] * x + r[2, 1] * y + r[2, 2] + t[2] * d
            near = 1 / max(depth, _MIN_DEPTH_RATIO)
            coords[k, p, 0] = fx * near * (r[0, 0] * x + r[0, 1] * y + r[0, 2] + t[0] * d) + cx
            coords[k, p, 1] = fy * near * (r[1, 0] * x + r[1, 1] * y + r[1, 2] + t[1] * d) + cy


@njit()
def _add(row: Floats, weight: float, error: float, information: Floats, gradient: Floats) -> None:
    for i in range(6):
        scaled = weight * row[i]
        gradient[i] += scaled * error
        for j in range(i + 1):
            information[i, j] += scaled * row[j]


@njit()
def _equations(  # noqa: PLR0917 - likewise
    poses: Floats,
    pose: Floats,
    disps: Floats,
    intrinsics: Floats,
    width: int,
    target: Floats,
    weight: Floats,
    information: Floats,
    gradient: Floats,
) -> tuple[float, int]:
    """Fill J^T W J, lower half, and J^T W residual; return the weighted squares, and of how many.

    The derivatives are those of `projection.linearise` by a perturbation of the frame's own pose.
    """
    fx, fy, cx, cy = intrinsics
    information[:], gradient[:] = 0, 0
    squares, count = 0.0, 0
    across, down = np.zeros(6), np.zeros(6)
    for k in range(len(poses)):
        relative = _compose(pose, _inverse(poses[k]))
        r, t = _rotation(relative[3:]), relative[:3]
        for p in range(disps.shape[1]):
            x, y, d = (p % width - cx) / fx, (p // width - cy) / fy, disps[k, p]
            depth = r[2, 0] * x + r[2, 1] * y + r[2, 2] + t[2] * d
            if not (d > 0 and depth > _MIN_DEPTH_RATIO):
                continue
            near = 1 / depth
            seen_x = near * (r[0, 0] * x + r[0, 1] * y + r[0, 2] + t[0] * d)
            seen_y = near * (r[1, 0] * x + r[1, 1] * y + r[1, 2] + t[1] * d)
            near_disp, u, v = near * d, fx * seen_x, fy * seen_y
            across[0], across[2] = fx * near_disp, -u * near_disp
            across[3], across[4], across[5] = -u * seen_y, fx + u * seen_x, -fx * seen_y
            down[1], down[2] = fy * near_disp, -v * near_disp
            down[3], down[4], down[5] = -fy - v * seen_y, v * seen_x, fy * seen_x
            wx, wy = float(weight[k, p, 0]), float(weight[k, p, 1])
            ex, ey = target[k, p, 0] - (u + cx), target[k, p, 1] - (v + cy)
            _add(across, wx, ex, information, gradient)
            _add(down, wy, ey, information, gradient)
            squares += wx * ex * ex + wy * ey * ey
            count += (wx > 0) + (wy > 0)
    return squares, count


@njit()
def _factor(matrix: Floats) -> bool:
    """Put the Cholesky factor of a (6, 6) in its lower half's place; False if there is none."""
    for i in range(6):
        for j in range(i + 1):
            rest = matrix[i, j]
            for k in range(j):
                rest -= matrix[i, k] * matrix[j, k]
            if i > j:
                matrix[i, j] = rest / matrix[j, j]
            elif rest > 0 and np.isfinite(rest):
                matrix[i, i] = np.sqrt(rest)
            else:
                return False
    return True


@njit()
def _solve(factor: Floats, vector: Floats) -> Floats:
    solution = vector.copy()
    for i in range(6):
        for k in range(i):
            solution[i] -= factor[i, k] * solution[k]
        solution[i] /= factor[i, i]
    for i in range(5, -1, -1):
        for k in range(i + 1, 6):
            solution[i] -= factor[k, i] * solution[k]
        solution[i] /= factor[i, i]
    return solution


@compiled(nogil=True)
def find_pose(  # noqa: PLR0917 - likewise
    poses: Floats,
    guess: Floats,
    disps: Floats,
    intrinsics: Floats,
    width: int,
    target: Floats,
    weight: Floats,
    iterations: int,
    lm: float,
    ep: float,
) -> tuple[Floats, Floats, float, bool]:
    """Step `iterations` times by Gauss-Newton.

    Args:
        poses: (K, 7) of the known frames.
        guess: (7,) to begin with.
        disps: (K, P).
        intrinsics: (4,) fx fy cx cy.
        width: of the maps.
        target: (K, P, 2) x y where the pixels were seen.
        weight: (K, P, 2).
        iterations: how often.
        lm: share of its diagonal that is added to the information.
        ep: and what is added besides.

    Returns:
        Pose (7,), inverse information (6, 6) there times the variance, variance of a residual of
        weight 1, and whether it was solved; if not, the rest means nothing.
    """
    information, gradient, covariance = np.empty((6, 6)), np.empty(6), np.empty((6, 6))
    pose = guess.copy()
    for _ in range(iterations):
        _equations(poses, pose, disps, intrinsics, width, target, weight, information, gradient)
        for i in range(6):
            information[i, i] += lm * information[i, i] + ep
        if not _factor(information):
            return pose, covariance, 0.0, False
        step = _solve(information, gradient)
        if not np.isfinite(step).all():
            return pose, covariance, 0.0, False
        pose = _compose(_exp(step), pose)
    squares, count = _equations(
        poses, pose, disps, intrinsics, width, target, weight, information, gradient
    )
    if count <= 6 or not np.isfinite(squares) or not _factor(information):  # noqa: PLR2004
        return pose, covariance, 0.0, False
    variance = squares / (count - 6)
    for i in range(6):
        unit = np.zeros(6)
        unit[i] = variance
        covariance[:, i] = _solve(information, unit)
    return pose, covariance, variance, True
