"""The tracker's poses in a robot's frames: map and odom with z up, the camera or its base in them.

The tracker knows optical frames alone (z forward, y down), and begins where the first picture was
taken. Here the world's axes are those of the robot's base as it stood then, or, where nobody tells
where the camera is in it, x forward along the first view, y left, z up (REP 103).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from compressed_slam.estimate import Estimate

_OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""A camera's optical frame in one of the same place with x forward and z up."""


class Placed(NamedTuple):
    """Where the robot is, or its camera where it has no base.

    Attributes:
        in_odom: (4, 4).
        in_map: (4, 4).
        odom_in_map: (4, 4).
        odom_covariance: (6, 6) of translation and rotation about the axes of odom; infinite where
            nothing is known.
        map_covariance: likewise, of map.
    """

    in_odom: NDArray[np.float64]
    in_map: NDArray[np.float64]
    odom_in_map: NDArray[np.float64]
    odom_covariance: NDArray[np.float64]
    map_covariance: NDArray[np.float64]


class RobotFrames:
    """From the frames of one map to those of a robot.

    Attributes:
        world: (4, 4) from the tracker's world to map; set where a map has its own.
    """

    def __init__(
        self,
        camera_in_base: NDArray[np.float64] | None,
        rotation: NDArray[np.float64] | None = None,
    ) -> None:
        """Know where the camera is.

        Args:
            camera_in_base: (4, 4), the optical frame; None tells of the camera itself.
            rotation: (3, 3) from the optical frame to that of the pictures, which those of a
                stereo pair are turned into; None where they are the same.
        """
        picture = np.eye(4)
        if rotation is not None:
            picture[:3, :3] = rotation.T
        self.world = (_OPTICAL if camera_in_base is None else camera_in_base) @ picture
        self._start = self.world
        self._base = np.linalg.inv(picture if camera_in_base is None else self.world)

    def place(self, estimate: Estimate) -> Placed:
        """Convert the poses of one estimate."""
        odometry = self._start @ pose_matrix(estimate.odometry)
        pose = self.world @ pose_matrix(estimate.pose)
        in_odom, in_map = odometry @ self._base, pose @ self._base
        covariance = estimate.covariance.double().cpu().numpy()
        return Placed(
            in_odom,
            in_map,
            pose @ np.linalg.inv(odometry),
            self._about_axes(in_odom, covariance),
            self._about_axes(in_map, covariance),
        )

    def cameras(self, poses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where cameras are in the map: (n, 4, 4) of (n, 4, 4) of the tracker."""
        placed: NDArray[np.float64] = self.world @ poses
        return placed

    def points(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return points (n, 3) of the tracker's world in the map."""
        moved: NDArray[np.float32] = points @ self.world[:3, :3].T.astype(np.float32)
        return moved + self.world[:3, 3].astype(np.float32)

    def _about_axes(
        self, pose: NDArray[np.float64], covariance: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Carry the covariance of the camera's tangent to the base, and to the world's axes."""
        if not np.isfinite(covariance).all():
            return np.full((6, 6), np.inf)
        to_base = np.linalg.inv(self._base)
        turn, (x, y, z) = to_base[:3, :3], to_base[:3, 3]
        across = np.zeros((6, 6))
        across[:3, :3] = across[3:, 3:] = turn
        across[:3, 3:] = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ turn
        axes = np.kron(np.eye(2), pose[:3, :3]) @ across
        about: NDArray[np.float64] = axes @ covariance @ axes.T
        return about


def pose_matrix(pose: Any) -> NDArray[np.float64]:  # noqa: ANN401
    """Return the (4, 4) of a tracker's pose (7,), a tensor."""
    numbers = pose.double().cpu().numpy()
    matrix: NDArray[np.float64] = Trajectory(np.zeros(1, np.int64), numbers[None]).matrices()[0]
    return matrix
