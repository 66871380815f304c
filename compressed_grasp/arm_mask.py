"""The cells that the robot's own arm is over, from the keypoints of the node `arm_pose`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressed_grasp.workspace import Workspace

_FLOAT32 = 7  # sensor_msgs/msg/PointField
_BITS = 4  # of a cell, as OpenCV draws them
_FARTHEST = 100.0  # metres


def read_points(cloud: Any) -> NDArray[np.float64]:  # noqa: ANN401
    """Read x y z of a sensor_msgs/PointCloud2, (n, 3) metres; NaN where unknown.

    Raises:
        ValueError: it has no x y z of 32 bits, or fewer bytes than it says.
    """
    offsets = {field.name: field.offset for field in cloud.fields if field.datatype == _FLOAT32}
    if not offsets.keys() >= {"x", "y", "z"}:
        message = f"a point cloud with the fields {sorted(offsets)} has no float32 x, y and z"
        raise ValueError(message)
    point = np.dtype(
        {
            "names": ["x", "y", "z"],
            "formats": ["<f4"] * 3,
            "offsets": [offsets[name] for name in "xyz"],
            "itemsize": cloud.point_step,
        }
    )
    points = np.frombuffer(bytes(cloud.data), point, cloud.width * cloud.height)
    return np.stack([points[name] for name in "xyz"], axis=1).astype(np.float64)


def arm_cells(
    keypoints: NDArray[np.float64], radius: float, workspace: Workspace
) -> NDArray[np.bool_]:
    """Cells (rows, columns) that are below a chain of keypoints, or beside it.

    Args:
        keypoints: (n, 3) in the workspace frame [m]; those with NaN are left out of the chain.
        radius: how far beside it [m].
        workspace: of the cells.
    """
    mask = np.zeros(workspace.shape, np.uint8)
    known = keypoints[np.isfinite(keypoints).all(axis=1)]
    known = known[np.abs(known).max(axis=1, initial=0) < _FARTHEST]
    origin = np.array([workspace.x[0], workspace.y[0]])
    cells = (known[:, :2] - origin) / workspace.resolution - 0.5
    places = [tuple(map(int, each)) for each in np.rint(cells * 2**_BITS)]
    reach = radius / workspace.resolution
    for x, y in places:
        cv2.circle(mask, (x, y), round(reach * 2**_BITS), 1, -1, shift=_BITS)
    for (x1, y1), (x2, y2) in pairwise(places):
        cv2.line(mask, (x1, y1), (x2, y2), 1, max(round(2 * reach), 1), shift=_BITS)
    return mask.astype(bool)
