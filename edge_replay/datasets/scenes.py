"""Single views of tables with their camera's pose, as data sets of grasping have them.

A folder with `color.png`, `camera_pose.txt` (4x4, optical frame to world, metres) and, if they are
known, `depth.png` and `camera_matrix.txt` (3x3, pixels); or a folder of such folders, whose views
are then taken in the order of their names. Depth is in millimetres; where Visual Pushing and
Grasping wrote it, beside a `camera_depth_scale.txt`, in tenths of them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge_replay.datasets.files import read_depth_png
from edge_replay.datasets.sequence import FolderSequence, made_up_stamps
from edge_runtime.calibration import Calibration
from edge_runtime.errors import SettingError
from edge_runtime.rows import read_rows
from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

POSE_FILE = "camera_pose.txt"
_MATRIX_FILE = "camera_matrix.txt"
_SCALE_FILE = "camera_depth_scale.txt"
_RATE = 10.0
_RIGID = 1e-3


def read_scenes(folder: Path) -> FolderSequence:
    """Read one view, or those of all subfolders; stamps are made up, at 10 Hz.

    Raises:
        SettingError: a file is missing or cannot be read, or the views are of different cameras.
    """
    views = [folder] if (folder / POSE_FILE).is_file() else _views_below(folder)
    for view in views:
        if not (view / "color.png").is_file():
            message = f"'{view / 'color.png'}' is missing: put it beside {POSE_FILE}"
            raise SettingError(message)
    stamps = made_up_stamps(range(len(views)), _RATE)
    poses = np.stack([_pose(view / POSE_FILE) for view in views])
    return FolderSequence(
        stamps=stamps,
        timed=False,
        images=[view / "color.png" for view in views],
        known_camera=_camera(views),
        camera_remedy=f"the camera of '{folder}' is unknown: write {_MATRIX_FILE}, 3x3 pixels",
        ground_truth=Trajectory.from_matrices(stamps, poses),
        depths=[_depth(view) for view in views],
    )


def _views_below(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob(f"*/{POSE_FILE}"))


def _depth(view: Path) -> Callable[[], NDArray[np.float32]] | None:
    file = view / "depth.png"
    units_per_metre = 10_000.0 if (view / _SCALE_FILE).is_file() else 1000.0
    return partial(read_depth_png, file, units_per_metre) if file.is_file() else None


def _pose(path: Path) -> NDArray[np.float64]:
    pose = _numbers(path, 4)
    rotation = pose[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > _RIGID or np.linalg.det(rotation) < 0:
        message = f"'{path}' is no camera pose: its 3x3 part must be a rotation"
        raise SettingError(message)
    return pose


def _camera(views: list[Path]) -> Calibration | None:
    """Of all views; None where one does not say it."""
    files = [view / _MATRIX_FILE for view in views]
    if not all(file.is_file() for file in files):
        return None
    matrices = [_numbers(file, 3) for file in files]
    if any(not np.array_equal(matrix, matrices[0]) for matrix in matrices):
        message = f"'{views[0].parent}': views of different cameras; give one of its subfolders"
        raise SettingError(message)
    picture = cv2.imread(str(views[0] / "color.png"))
    if picture is None:
        message = f"image '{views[0] / 'color.png'}' cannot be read: repair it, or take it out"
        raise SettingError(message)
    height, width = picture.shape[:2]
    return Calibration(width, height, matrices[0], np.zeros(0), "plumb_bob")


def _numbers(path: Path, side: int) -> NDArray[np.float64]:
    """Read a square matrix of finite numbers."""
    rows = read_rows(path, " ".join(["number"] * side))
    if len(rows) != side:
        message = f"'{path}' has {len(rows)} rows: it is a matrix of {side} rows and columns"
        raise SettingError(message)
    return np.array([row.numbers() for row in rows])
