"""Keypoints as ROS messages and back."""

from __future__ import annotations

import array
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pose_fcn.estimator import Keypoints

FIELDS = ("x", "y", "z", "u", "v", "score")
"""Of one point: metres in the optical frame (NaN without depth), pixels, 0..1; all float32."""


def keypoint_cloud(keypoints: Keypoints, points: NDArray[np.float32], header: Any) -> Any:  # noqa: ANN401
    """Make a sensor_msgs/PointCloud2 with one point for each keypoint, in order.

    A keypoint that was not found has NaN for x y z u v and keeps its score.

    Args:
        keypoints: as estimated.
        points: (8, 3) metres, NaN where unknown.
        header: of the picture.
    """
    from sensor_msgs.msg import PointCloud2, PointField

    rows = np.hstack([points, keypoints.positions, keypoints.scores[:, None]]).astype("<f4")
    cloud = PointCloud2(header=header, height=1, width=len(rows), is_dense=False)
    cloud.fields = [
        PointField(name=name, offset=4 * k, datatype=PointField.FLOAT32, count=1)
        for k, name in enumerate(FIELDS)
    ]
    cloud.point_step = 4 * len(FIELDS)
    cloud.row_step = cloud.point_step * len(rows)
    cloud.data = array.array("B", rows.tobytes())
    return cloud


def cloud_pixels(cloud: Any, order: Sequence[int | None] | None = None) -> NDArray[np.float32]:  # noqa: ANN401
    """Read u and v of a keypoint cloud, (k, 2) pixels, NaN where not found.

    `order` picks points by index, None giving NaN; left out, all points in their order.
    """
    rows = np.frombuffer(memoryview(cloud.data), "<f4").reshape(-1, len(FIELDS))
    pixels = rows[:, FIELDS.index("u") : FIELDS.index("v") + 1]
    if order is None:
        return pixels
    missing = np.full(2, np.nan, np.float32)
    return np.stack([missing if k is None else pixels[k] for k in order])


def skeleton_markers(
    points: NDArray[np.float32],
    links: Sequence[tuple[int, int]],
    names: Sequence[str],
    header: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Make a visualization_msgs/MarkerArray: the keypoints, their names, and the links.

    Markers of the previous picture are deleted. Keypoints without a position in space are left
    out; without depth that is all of them.

    Args:
        points: (8, 3) metres in the optical frame, NaN where unknown.
        links: pairs of keypoint indices.
        names: of the keypoints.
        header: of the picture.
    """
    from geometry_msgs.msg import Point, Pose
    from geometry_msgs.msg import Vector3 as Scale
    from std_msgs.msg import ColorRGBA
    from visualization_msgs.msg import Marker, MarkerArray

    known = np.all(~np.isnan(points), axis=1)
    places = [Point(x=float(x), y=float(y), z=float(z)) for x, y, z in np.nan_to_num(points)]
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    if known.any():
        spheres = Marker(header=header, ns="keypoints", type=Marker.SPHERE_LIST)
        spheres.scale = Scale(x=0.03, y=0.03, z=0.03)
        spheres.color = ColorRGBA(r=1.0, g=0.55, b=0.1, a=1.0)
        spheres.points = [place for place, there in zip(places, known, strict=True) if there]
        lines = Marker(header=header, ns="links", type=Marker.LINE_LIST)
        lines.scale.x = 0.012
        lines.color = ColorRGBA(r=0.9, g=0.9, b=0.9, a=1.0)
        lines.points = [places[end] for link in links if known[list(link)].all() for end in link]
        markers += [spheres, lines]
        for index in np.flatnonzero(known).tolist():
            text = Marker(header=header, ns="names", id=index, type=Marker.TEXT_VIEW_FACING)
            text.pose = Pose(position=places[index])
            text.scale.z = 0.03
            text.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
            text.text = names[index]
            markers.append(text)
    return MarkerArray(markers=markers)
