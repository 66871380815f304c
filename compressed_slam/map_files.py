"""A map on disk: the trajectory as TUM's text, the points as PLY, both or neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.errors import SettingError
from edge_runtime.files import whole_directory
from edge_runtime.trajectory import write_trajectory

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.trajectory import Trajectory

TRAJECTORY = "trajectory.txt"
POINTS = "points.ply"


def write_map(
    folder: Path,
    trajectory: Trajectory,
    points: NDArray[np.float32],
    colours: NDArray[np.uint8],
) -> None:
    """Write a map in place of an older one.

    Args:
        folder: is made; what is in it of anything else than a map is refused.
        trajectory: of the camera in the map.
        points: (n, 3) metres, in the map.
        colours: (n, 3) BGR.

    Raises:
        SettingError: the folder cannot be written, or holds other files, which would be lost.
    """
    try:
        if others := _others(folder):
            message = (
                f"map_folder {folder} holds {others[0]!r}, which is no part of a map: give a "
                "folder that is new, empty or an older map"
            )
            raise SettingError(message)
        with whole_directory(folder) as new:
            write_trajectory(new / TRAJECTORY, trajectory)
            (new / POINTS).write_bytes(_ply(points, colours))
    except OSError as error:
        message = (
            f"map_folder {folder} cannot be written ({error.strerror}): give a folder that can, "
            "with space on its disk"
        )
        raise SettingError(message) from error


def _others(folder: Path) -> list[str]:
    if not folder.exists():
        return []
    return sorted({entry.name for entry in folder.iterdir()} - {TRAJECTORY, POINTS})


def _ply(points: NDArray[np.float32], colours: NDArray[np.uint8]) -> bytes:
    rows = np.empty(len(points), [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    rows["xyz"], rows["rgb"] = points, colours[:, ::-1]
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
    )
    return header.encode() + rows.tobytes()
