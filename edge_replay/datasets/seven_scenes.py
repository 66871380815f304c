"""7-Scenes (Shotton et al., 2013): a folder such as `seq-01`, three files a frame."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from edge_replay.datasets.files import read_depth_png
from edge_replay.datasets.listing import in_order
from edge_replay.datasets.sequence import FolderSequence, made_up_stamps
from edge_runtime.calibration import Calibration
from edge_runtime.errors import SettingError
from edge_runtime.rows import read_rows
from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_COLOUR = ".color.png"
# The data set was not calibrated: these are the defaults of its depth camera, as published.
_MATRIX = ((585.0, 0.0, 320.0), (0.0, 585.0, 240.0), (0.0, 0.0, 1.0))
_SIZE = (640, 480)
_UNITS_PER_METRE = 1000.0


def read_seven_scenes(folder: Path) -> FolderSequence:
    """Read `frame-NNNNNN.color.png`, `.depth.png` and `.pose.txt`.

    There are no times: stamps are made of the frames' numbers, at 30 Hz. Depth is not registered
    to colour.

    Raises:
        SettingError: a file has another name, or a pose cannot be read.
    """
    images = in_order(folder.glob(f"frame-*{_COLOUR}"))
    stems = [folder / path.name.removesuffix(_COLOUR) for path in images]
    stamps = made_up_stamps([_number(stem) for stem in stems])
    depths = [_depth(_present(stem, ".depth.png")) for stem in stems]
    note = "depth is as the depth camera saw it, not registered to colour"
    return FolderSequence(
        stamps=stamps,
        timed=False,
        images=images,
        known_camera=Calibration(*_SIZE, np.array(_MATRIX), np.zeros(0), "plumb_bob"),
        ground_truth=_ground_truth(stems, stamps),
        depths=depths,
        notes=(note,) if any(depths) else (),
    )


def _number(stem: Path) -> int:
    digits = stem.name.removeprefix("frame-")
    if not digits.isdecimal():
        message = f"'{stem}{_COLOUR}' has no frame number: names are frame-000000{_COLOUR}"
        raise SettingError(message)
    return int(digits)


def _present(stem: Path, suffix: str) -> Path | None:
    path = stem.with_name(stem.name + suffix)
    return path if path.is_file() else None


def _depth(path: Path | None) -> Callable[[], NDArray[np.float32]] | None:
    return partial(read_depth_png, path, _UNITS_PER_METRE) if path else None


def _ground_truth(stems: Sequence[Path], stamps: NDArray[np.int64]) -> Trajectory | None:
    files = [_present(stem, ".pose.txt") for stem in stems]
    posed = [index for index, file in enumerate(files) if file is not None]
    if not posed:
        return None
    matrices = np.array([_matrix(file) for file in files if file is not None])
    return Trajectory.from_matrices(stamps[posed], matrices)


def _matrix(path: Path) -> NDArray[np.float64]:
    """Read a camera-to-world transform, (4, 4); NaN where the pose is lost."""
    rows = read_rows(path, "x y z t")
    if len(rows) != 4:  # noqa: PLR2004 - rows of a transform
        message = f"'{path}' has {len(rows)} rows: a pose is a matrix of 4 rows and 4 columns"
        raise SettingError(message)
    matrix = np.array([[row.number_or_nan(column) for column in range(4)] for row in rows])
    if np.isnan(matrix).any() or not matrix[:3, :3].any():
        matrix[:] = np.nan
    return matrix
