"""Actions and height maps as ROS messages and back."""

from __future__ import annotations

import array
from typing import TYPE_CHECKING, Any

import numpy as np

from compressed_grasp.action import ANGLES, Action

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from compressed_grasp.heightmap import HeightMap
    from compressed_grasp.workspace import Workspace

_SPEED = 0.1  # m/s, of which the nominal times of way points are made
_NANOSECONDS = 1_000_000_000
_JAWS = 0.11  # metres, as drawn
_PUSH_COLOR, _GRASP_COLOR = (1.0, 0.55, 0.1, 1.0), (0.2, 0.9, 0.3, 1.0)
_FRAME_COLOR = (0.9, 0.9, 0.9, 0.8)


def workspace_header(header: Any, frame: str) -> Any:  # noqa: ANN401
    """Make a std_msgs/Header with an image's stamp in the workspace frame."""
    from std_msgs.msg import Header

    return Header(stamp=header.stamp, frame_id=frame)


def action_message(action: Action | None, header: Any) -> Any:  # noqa: ANN401
    """Make a trajectory_msgs/MultiDOFJointTrajectory: one joint, `push` or `grasp`.

    Its points hold the tool's way points; without an action there are none, and no joint. Times
    are those of 0.1 m/s along straight lines.
    """
    from builtin_interfaces.msg import Duration
    from geometry_msgs.msg import Transform, Vector3
    from trajectory_msgs.msg import MultiDOFJointTrajectory, MultiDOFJointTrajectoryPoint

    message = MultiDOFJointTrajectory(header=header)
    if action is None:
        return message
    message.joint_names = [action.kind]
    lengths = np.linalg.norm(np.diff(action.waypoints, axis=0), axis=1)
    times = np.concatenate([[0.0], np.cumsum(lengths / _SPEED)])
    for (x, y, z), time in zip(action.waypoints.tolist(), times.tolist(), strict=True):
        seconds, nanoseconds = divmod(round(time * _NANOSECONDS), _NANOSECONDS)
        message.points.append(
            MultiDOFJointTrajectoryPoint(
                transforms=[
                    Transform(translation=Vector3(x=x, y=y, z=z), rotation=_orientation(action))
                ],
                time_from_start=Duration(sec=seconds, nanosec=nanoseconds),
            )
        )
    return message


def read_action(message: Any, workspace: Workspace) -> Action | None:  # noqa: ANN401
    """Read what `action_message` made; None where there is nothing to do."""
    if not message.points:
        return None
    [kind] = message.joint_names
    transforms = [point.transforms[0] for point in message.points]
    waypoints = np.array(
        [[t.translation.x, t.translation.y, t.translation.z] for t in transforms], float
    )
    rotation = transforms[0].rotation
    angle = 2 * np.arctan2(rotation.y, rotation.x)
    angle_index = round(angle / (2 * np.pi / ANGLES)) % ANGLES
    return Action(kind, workspace.cell(waypoints[1]), angle_index, waypoints)


def pose_message(action: Action, header: Any) -> Any:  # noqa: ANN401
    """Make a geometry_msgs/PoseStamped of the tool where a push begins, or where jaws close."""
    from geometry_msgs.msg import Point, Pose, PoseStamped

    x, y, z = action.waypoints[1].tolist()
    pose = Pose(position=Point(x=x, y=y, z=z), orientation=_orientation(action))
    return PoseStamped(header=header, pose=pose)


def _orientation(action: Action) -> Any:  # noqa: ANN401
    """Half a turn about the line between tool x and workspace x: z points down, x along."""
    from geometry_msgs.msg import Quaternion

    half = action.angle / 2
    return Quaternion(x=float(np.cos(half)), y=float(np.sin(half)), z=0.0, w=0.0)


def height_message(seen: HeightMap, header: Any) -> Any:  # noqa: ANN401
    """Make a sensor_msgs/Image, 32FC1, of the heights [m]; NaN where unseen."""
    from sensor_msgs.msg import Image

    rows, columns = seen.height.shape
    return Image(
        header=header,
        height=rows,
        width=columns,
        encoding="32FC1",
        step=4 * columns,
        data=array.array("B", seen.height.astype("<f4").tobytes()),
    )


def action_markers(action: Action | None, workspace: Workspace, header: Any) -> Any:  # noqa: ANN401
    """Make a visualization_msgs/MarkerArray: the workspace's border, and the action's path.

    A push is an arrow; a grasp is a bar across the jaws where they close, and its approach.
    """
    from visualization_msgs.msg import Marker, MarkerArray

    z = workspace.z[0]
    corners = [
        (workspace.x[i], workspace.y[j], z) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))
    ]
    markers = [
        Marker(header=header, action=Marker.DELETEALL),
        _marker(header, "workspace", Marker.LINE_STRIP, 0.004, _FRAME_COLOR, corners),
    ]
    if action is not None:
        color = _PUSH_COLOR if action.kind == "push" else _GRASP_COLOR
        path = action.waypoints[:3] if action.kind == "push" else action.waypoints[:2]
        markers.append(_marker(header, "path", Marker.LINE_STRIP, 0.006, color, path))
        if action.kind == "push":
            arrow = _marker(header, "push", Marker.ARROW, 0.012, color, action.waypoints[1:3])
            arrow.scale.y, arrow.scale.z = 0.03, 0.03
            markers.append(arrow)
        else:
            across = action.rotation[:, 0] * _JAWS / 2
            ends = action.waypoints[1] + np.stack([-across, across])
            markers.append(_marker(header, "jaws", Marker.LINE_STRIP, 0.012, color, ends))
    return MarkerArray(markers=markers)


def _marker(  # noqa: PLR0917 - as a table of markers reads
    header: Any,  # noqa: ANN401
    name: str,
    kind: int,
    width: float,
    color: Sequence[float],
    points: Sequence[Sequence[float]] | NDArray[np.float64],
) -> Any:  # noqa: ANN401
    from geometry_msgs.msg import Point
    from std_msgs.msg import ColorRGBA
    from visualization_msgs.msg import Marker

    red, green, blue, alpha = color
    marker = Marker(header=header, ns=name, type=kind)
    marker.scale.x = width
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=alpha)
    marker.points = [Point(x=float(x), y=float(y), z=float(z)) for x, y, z in points]
    return marker
