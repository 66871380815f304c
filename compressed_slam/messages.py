"""Poses, covariances and points as ROS messages."""

from __future__ import annotations

import array
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

UNKNOWN = 1e6
"""m^2 and rad^2 in a covariance where nothing is known: robot_localization takes no infinity."""


def odometry_message(
    stamp: Any,  # noqa: ANN401
    frame: str,
    child: str,
    pose: NDArray[np.float64],
    covariance: NDArray[np.float64],
) -> Any:  # noqa: ANN401
    """Make a nav_msgs/Odometry without velocities.

    Args:
        stamp: of the image.
        frame: that the pose is in.
        child: whose pose it is.
        pose: (4, 4), metres.
        covariance: (6, 6) of translation and rotation about the axes of `frame`.
    """
    from nav_msgs.msg import Odometry

    message = Odometry(child_frame_id=child)
    message.header.stamp, message.header.frame_id = stamp, frame
    message.pose.pose = _pose(pose)
    message.pose.covariance = _covariance(covariance)
    # As sensor_msgs/Imu says that it has no estimate.
    message.twist.covariance[0] = -1.0
    return message


def pose_message(
    stamp: Any,  # noqa: ANN401
    frame: str,
    pose: NDArray[np.float64],
    covariance: NDArray[np.float64],
) -> Any:  # noqa: ANN401
    """Make a geometry_msgs/PoseWithCovarianceStamped; arguments as of `odometry_message`."""
    from geometry_msgs.msg import PoseWithCovarianceStamped

    message = PoseWithCovarianceStamped()
    message.header.stamp, message.header.frame_id = stamp, frame
    message.pose.pose = _pose(pose)
    message.pose.covariance = _covariance(covariance)
    return message


def path_message(
    stamp: Any,  # noqa: ANN401
    frame: str,
    stamps: Sequence[int],
    poses: NDArray[np.float64],
) -> Any:  # noqa: ANN401
    """Make a nav_msgs/Path of poses (n, 4, 4) at `stamps`, ns."""
    from builtin_interfaces.msg import Time
    from geometry_msgs.msg import PoseStamped
    from nav_msgs.msg import Path

    message = Path()
    message.header.stamp, message.header.frame_id = stamp, frame
    for at, pose in zip(stamps, poses, strict=True):
        one = PoseStamped(pose=_pose(pose))
        one.header.stamp = Time(sec=at // 10**9, nanosec=at % 10**9)
        one.header.frame_id = frame
        message.poses.append(one)
    return message


def points_message(
    stamp: Any,  # noqa: ANN401
    frame: str,
    points: NDArray[np.float32],
    colours: NDArray[np.uint8],
) -> Any:  # noqa: ANN401
    """Make a sensor_msgs/PointCloud2 with x y z and rgb.

    Args:
        stamp: of the image.
        frame: of the points.
        points: (n, 3) metres.
        colours: (n, 3) BGR.
    """
    from sensor_msgs.msg import PointCloud2, PointField

    rows = np.zeros(len(points), [("xyz", "<f4", 3), ("bgr", "u1", 3), ("pad", "u1")])
    rows["xyz"], rows["bgr"] = points, colours
    cloud = PointCloud2(height=1, width=len(rows), is_dense=True)
    cloud.header.stamp, cloud.header.frame_id = stamp, frame
    # The colour is the bytes B G R 0 read as one float, as RViz and PCL have it.
    cloud.fields = [
        PointField(name=name, offset=4 * k, datatype=PointField.FLOAT32, count=1)
        for k, name in enumerate(("x", "y", "z", "rgb"))
    ]
    cloud.point_step = rows.itemsize
    cloud.row_step = rows.nbytes
    cloud.data = array.array("B", rows.tobytes())
    return cloud


def _pose(matrix: NDArray[np.float64]) -> Any:  # noqa: ANN401
    from geometry_msgs.msg import Point, Pose, Quaternion

    numbers = Trajectory.from_matrices(np.zeros(1, np.int64), matrix[None]).poses[0]
    x, y, z, qx, qy, qz, qw = map(float, numbers)
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def _covariance(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(matrix).all()
    values: NDArray[np.float64] = matrix if known else UNKNOWN * np.eye(6)
    return values.ravel()
