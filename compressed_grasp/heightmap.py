"""A view of the table from above, made of one colour and depth image from anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressed_grasp.workspace import Workspace

_RIGID = 1e-3


@dataclass(frozen=True)
class HeightMap:
    """What was seen in the cells of a workspace.

    Attributes:
        height: (rows, columns) float32, metres above the table, 0 also where below it; NaN where
            nothing was seen.
        color: (rows, columns, 3) uint8 in the image's channel order; 0 where nothing was seen.
    """

    height: NDArray[np.float32]
    color: NDArray[np.uint8]

    @property
    def coverage(self) -> float:
        """Share of the cells that were seen, 0..1."""
        return float(1 - np.isnan(self.height).mean())


def height_map(
    color: NDArray[np.uint8],
    depth: NDArray[np.float32],
    matrix: NDArray[np.float64],
    camera_pose: NDArray[np.float64],
    workspace: Workspace,
) -> HeightMap:
    """Project an image onto the table; the highest point of a cell is what is seen there.

    Cells and heights are those of VPG (Zeng et al. 2018); holes stay holes.

    Args:
        color: (h, w, 3), registered to the depth image.
        depth: (h, w) metres along the optical axis; zero, negative or not finite where unseen.
        matrix: (3, 3) camera matrix K [pixels] of an image without distortion.
        camera_pose: (4, 4) transform from the optical frame (x right, y down, z forward) to the
            workspace frame.
        workspace: what to look at.

    Raises:
        SettingError: The images differ in size, or the camera pose is not rigid.
    """
    if color.shape != (*depth.shape, 3):
        message = (
            f"colour image of shape {color.shape} and depth image of shape {depth.shape} do not "
            "belong together; give (h, w, 3) and (h, w)"
        )
        raise SettingError(message)
    check_rigid(camera_pose)
    seen, x, y, z = _points(depth, matrix, camera_pose, workspace)
    rows, columns = workspace.shape
    cells_per_metre = np.float32(1 / workspace.resolution)
    row = ((y - np.float32(workspace.y[0])) * cells_per_metre).astype(np.int32)
    column = ((x - np.float32(workspace.x[0])) * cells_per_metre).astype(np.int32)
    # A point just below the upper limit may be rounded to it.
    cell = np.minimum(row, rows - 1) * columns + np.minimum(column, columns - 1)

    pixel = np.full(rows * columns, -1)
    highest = np.full(rows * columns, -np.inf, np.float32)
    higher = np.arange(len(cell))
    # Of points with the same cell one is kept, whichever; those above it are tried again.
    while higher.size:
        place, value = cell[higher], z[higher]
        highest[place] = value
        pixel[place] = seen[higher]
        higher = higher[value > highest[place]]
    covered = pixel >= 0
    height = np.where(covered, np.maximum(highest - np.float32(workspace.z[0]), 0), np.nan)
    map_color = np.where(covered[:, None], color.reshape(-1, 3)[pixel], np.uint8(0))
    return HeightMap(
        height.reshape(rows, columns).astype(np.float32), map_color.reshape(rows, columns, 3)
    )


def check_rigid(pose: NDArray[np.float64]) -> None:
    """Check that a (4, 4) transform turns and moves, and does nothing else.

    Raises:
        SettingError: It has another shape, scales, mirrors, shears, or is not finite.
    """
    if pose.shape == (4, 4) and np.isfinite(pose).all():
        rotation = pose[:3, :3]
        straight = np.abs(rotation @ rotation.T - np.eye(3)).max() < _RIGID
        if straight and np.linalg.det(rotation) > 0 and np.allclose(pose[3], (0, 0, 0, 1)):
            return
    message = (
        f"camera pose {np.array2string(pose, precision=4, separator=', ')} is not rigid; give a "
        "4x4 transform of rotation and translation [m]"
    )
    raise SettingError(message)


def _points(
    depth: NDArray[np.float32],
    matrix: NDArray[np.float64],
    pose: NDArray[np.float64],
    workspace: Workspace,
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return flat pixel indices of what is seen in the workspace, and x, y, z [m] there."""
    height, width = depth.shape
    pixels_to_rays = pose[:3, :3] @ np.linalg.inv(matrix)
    along_u = (pixels_to_rays[:, :1] * np.arange(width)).astype(np.float32)
    along_v = pixels_to_rays[:, 1:2] * np.arange(height) + pixels_to_rays[:, 2:]
    along_v = along_v.astype(np.float32)
    offset = pose[:3, 3].astype(np.float32)
    depth = depth.astype(np.float32, copy=False)
    x, y, z = (depth * (along_v[k][:, None] + along_u[k]) + offset[k] for k in range(3))
    # NaN compares as false.
    inside = (depth > 0) & (x >= workspace.x[0]) & (x < workspace.x[1])
    inside &= (y >= workspace.y[0]) & (y < workspace.y[1]) & (z < workspace.z[1])
    seen = np.flatnonzero(inside)
    return seen, x.ravel()[seen], y.ravel()[seen], z.ravel()[seen]
