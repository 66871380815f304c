"""Trajectories of a camera, their text files, and which poses of two belong together."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.errors import SettingError
from edge_runtime.files import write_whole
from edge_runtime.rows import read_poses, read_rows, read_stamps

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TOLERANCE_S = 0.01
"""Seconds by which the stamps of poses that belong together may differ, unless said otherwise."""

_FORM = "timestamp tx ty tz qx qy qz qw"
_SECOND = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Where a camera was, and when.

    Stamps are whole nanoseconds, as those of ROS and EuRoC are, and hold the decimals of TUM's
    files exactly: a float64 of seconds since 1970 is exact to .2 microseconds only.

    Attributes:
        stamps: (N,) int64 ns, not decreasing.
        poses: (N, 7) float64 [tx ty tz qx qy qz qw], camera-to-world, metres. The quaternions may
            be given with any length but 0; here they have the length 1.
        lost: (M,) int64 ns, stamps of the file at which it says that the pose is not known.
    """

    stamps: NDArray[np.int64]
    poses: NDArray[np.float64]
    lost: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        stamps = np.asarray(self.stamps, np.int64)
        poses = np.array(self.poses, np.float64)
        if stamps.ndim != 1 or poses.shape != (len(stamps), 7):
            message = f"stamps {stamps.shape} and poses {poses.shape} are not (N,) and (N, 7)"
            raise ValueError(message)
        poses[:, 3:] /= np.linalg.norm(poses[:, 3:], axis=1, keepdims=True)
        if not np.isfinite(poses).all() or (np.diff(stamps) < 0).any():
            message = "a pose is not finite, a quaternion is 0, or the stamps decrease"
            raise ValueError(message)
        object.__setattr__(self, "stamps", stamps)
        object.__setattr__(self, "poses", poses)

    @classmethod
    def of_known(cls, stamps: NDArray[np.int64], poses: NDArray[np.float64]) -> Trajectory:
        """Make one of poses of which some are lost: these hold NaN."""
        known = ~np.isnan(poses).any(axis=1)
        return cls(stamps[known], poses[known], stamps[~known])

    @classmethod
    def from_matrices(cls, stamps: NDArray[np.int64], matrices: NDArray[np.float64]) -> Trajectory:
        """Make one of (N, 4, 4) camera-to-world transforms; lost ones hold NaN."""
        poses = np.full((len(matrices), 7), np.nan)
        known = ~np.isnan(matrices).any(axis=(1, 2))
        poses[known, :3] = matrices[known, :3, 3]
        poses[known, 3:] = _quaternions(matrices[known, :3, :3])
        return cls.of_known(stamps, poses)

    def __len__(self) -> int:
        """The number of poses."""
        return len(self.stamps)

    def __getitem__(self, index: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Trajectory:
        """Some of the poses."""
        return Trajectory(self.stamps[index], self.poses[index])

    def nearest(
        self, stamps: NDArray[np.int64], tolerance_s: float = TOLERANCE_S
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pair stamps with poses as `associate` does; a stamp next to a lost pose has none.

        Args:
            stamps: (N,) ns, not decreasing.
            tolerance_s: largest difference of a pair.

        Returns:
            Indices into `stamps` and into the poses, of the same length and rising.
        """
        every = np.concatenate([self.stamps, self.lost])
        order = np.argsort(every, kind="stable")
        ours, theirs = associate(stamps, every[order], tolerance_s)
        poses = order[theirs]
        known = poses < len(self)
        return ours[known], poses[known]

    @property
    def positions(self) -> NDArray[np.float64]:
        """Optical centres in the world, (N, 3) metres."""
        return self.poses[:, :3]

    @property
    def length(self) -> float:
        """The way that the camera went, metres."""
        return float(np.linalg.norm(np.diff(self.positions, axis=0), axis=1).sum())

    def matrices(self) -> NDArray[np.float64]:
        """Camera-to-world transforms, (N, 4, 4)."""
        x, y, z, w = self.poses[:, 3:].T
        rows = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
        transforms = np.tile(np.eye(4), (len(self), 1, 1))
        transforms[:, :3, :3] = np.moveaxis(np.array(rows), -1, 0)
        transforms[:, :3, 3] = self.positions
        return transforms


def write_trajectory(path: Path, trajectory: Trajectory) -> None:
    """Write TUM's text, whole or not at all; `read_trajectory` finds the same numbers in it.

    Raises:
        SettingError: the file cannot be written.
    """
    lines = [f"# {_FORM}"]
    for stamp, pose in zip(trajectory.stamps.tolist(), trajectory.poses.tolist(), strict=True):
        seconds = Decimal(stamp) / _SECOND
        lines.append(f"{seconds:.9f} {' '.join(map(repr, pose))}")
    try:
        write_whole(path, "\n".join(lines) + "\n")
    except OSError as error:
        message = (
            f"trajectory '{path}' cannot be written ({error.strerror}): give a file in a folder "
            "that exists, with space on its disk"
        )
        raise SettingError(message) from error


def read_trajectory(path: Path) -> Trajectory:
    """Read TUM's text: lines "timestamp tx ty tz qx qy qz qw", seconds and metres.

    A line whose pose is nan, inf or has a quaternion of zeros is among those `lost`.

    Raises:
        SettingError: the file cannot be read, or a line is not of that form.
    """
    rows = read_rows(path, _FORM)
    return Trajectory.of_known(read_stamps(rows, repeats=True), read_poses(rows, range(1, 8)))


def associate(
    first: NDArray[np.int64], second: NDArray[np.int64], tolerance_s: float = TOLERANCE_S
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair stamps one to one, those nearest to each other first.

    A stamp of the shorter list takes the last one before it or the first one after it in the
    other.

    Args:
        first: (N,) ns, not decreasing.
        second: (M,) ns, not decreasing.
        tolerance_s: largest difference of a pair.

    Returns:
        Indices into `first` and into `second`, of the same length and rising; empty where
        nothing belongs together.
    """
    if len(first) > len(second):
        theirs, ours = associate(second, first, tolerance_s)
        return ours, theirs
    index = np.arange(len(first))
    after = np.searchsorted(second, first)
    ours = np.concatenate([index, index])
    theirs = np.concatenate([after - 1, after])
    inside = (theirs >= 0) & (theirs < len(second))
    ours, theirs = ours[inside], theirs[inside]
    distance = np.abs(first[ours] - second[theirs])
    order = np.argsort(distance, kind="stable")
    order = order[distance[order] <= round(tolerance_s * _SECOND)]
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for i, j in zip(ours[order].tolist(), theirs[order].tolist(), strict=True):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    # Equal stamps may have been paired crosswise; in order, no pair is farther apart.
    return np.array(sorted(pairs), np.int64), np.array(sorted(taken), np.int64)


def _quaternions(rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 4) x y z w with w >= 0, of (N, 3, 3), also where rounding left no exact rotation."""
    # The quaternion is the eigenvector of this matrix with the largest eigenvalue (Bar-Itzhack,
    # 2000): no case of it is ill-conditioned, and it is the nearest one.
    r = rotations
    k = np.empty((len(r), 4, 4))
    k[:, :3, :3] = r + r.transpose(0, 2, 1)
    k[:, :3, :3] -= np.trace(r, axis1=1, axis2=2)[:, None, None] * np.eye(3)
    k[:, 3, 0] = k[:, 0, 3] = r[:, 2, 1] - r[:, 1, 2]
    k[:, 3, 1] = k[:, 1, 3] = r[:, 0, 2] - r[:, 2, 0]
    k[:, 3, 2] = k[:, 2, 3] = r[:, 1, 0] - r[:, 0, 1]
    k[:, 3, 3] = np.trace(r, axis1=1, axis2=2)
    vectors = np.linalg.eigh(k)[1][:, :, -1]
    quaternions: NDArray[np.float64] = np.where(vectors[:, 3:] < 0, -vectors, vectors)
    return quaternions
