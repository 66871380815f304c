"""Where the camera is, and where others can learn what a node found out about frames: TF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3

from edge_runtime.errors import MessageError
from edge_runtime.optional_ros import transform_broadcaster, transform_lookup
from edge_runtime.trajectory import Trajectory
from edge_runtime.transform_text import parse_pose

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rclpy.node import Node

# Images come a little before the transforms of their time.
_PATIENCE_S = 0.1


class CameraPoses:
    """Camera-to-frame transforms: from TF, or as the parameter `camera_pose` gives them.

    `given`: the parameter's text.
    """

    def __init__(self, node: Node) -> None:
        self.given = ""
        self._look_up = transform_lookup(node)

    def at(self, header: Any, frame: str) -> NDArray[np.float64]:  # noqa: ANN401
        """Return (4, 4), from the camera's optical frame to `frame`, metres, at an image's stamp.

        For the worker's thread: waits up to 0.1 s for TF.

        Raises:
            MessageError: neither TF nor the parameter tells.
        """
        reason = "tf2_ros is not installed"
        if self._look_up is not None:
            try:
                return _matrix(self._look_up(frame, header.frame_id, header.stamp, _PATIENCE_S))
            except LookupError as error:
                reason = str(error)
        pose = parse_pose(self.given)
        if pose is None:
            message = (
                f"where the camera {header.frame_id!r} is in {frame!r} is not known ({reason}): "
                "publish it on TF, or set the parameter 'camera_pose'"
            )
            raise MessageError(message, "camera pose")
        return _of_numbers(pose)


class Broadcaster:
    """Sends transforms where tf2_ros is installed; where not, says so once."""

    def __init__(self, node: Node) -> None:
        self._send = transform_broadcaster(node)
        if self._send is None:
            node.get_logger().info("tf2_ros is not installed: no transforms are published")

    def send(self, stamp: Any, frame: str, child: str, pose: NDArray[np.float64]) -> None:  # noqa: ANN401
        """Publish the pose of `child` in `frame`, (4, 4) child-to-frame, metres."""
        if self._send is None:
            return
        x, y, z, *quaternion = Trajectory.from_matrices(np.zeros(1, np.int64), pose[None]).poses[0]
        message = TransformStamped(child_frame_id=child)
        message.header.stamp, message.header.frame_id = stamp, frame
        names = ("x", "y", "z", "w")
        message.transform = Transform(
            translation=Vector3(x=float(x), y=float(y), z=float(z)),
            rotation=Quaternion(**dict(zip(names, map(float, quaternion), strict=True))),
        )
        self._send(message)


def _matrix(transform: Any) -> NDArray[np.float64]:  # noqa: ANN401
    t, r = transform.translation, transform.rotation
    return _of_numbers((t.x, t.y, t.z, r.x, r.y, r.z, r.w))


def _of_numbers(pose: tuple[float, ...]) -> NDArray[np.float64]:
    matrix: NDArray[np.float64] = Trajectory(np.zeros(1, np.int64), np.array([pose])).matrices()[0]
    return matrix
