"""ETH3D's sequences for SLAM (Schops et al., 2019): TUM's lists beside an undistorted camera.

`calibration.txt` has one line "fx fy cx cy"; a metre is 5000 units of a depth image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_replay.datasets.files import read_bgr
from edge_replay.datasets.tum import read_list, rgbd_sequence
from edge_runtime.calibration import Calibration
from edge_runtime.rows import read_rows

if TYPE_CHECKING:
    from pathlib import Path

    from edge_replay.datasets.sequence import FolderSequence

CALIBRATION_FILE = "calibration.txt"
_DEPTH_SCALE = 5000.0


def read_eth3d(folder: Path) -> FolderSequence:
    """Read the lists; the size of the images is that of the first one.

    Raises:
        SettingError: a list, `calibration.txt` or the first image cannot be read.
    """
    row = read_rows(folder / CALIBRATION_FILE, "fx fy cx cy")[0]
    fx, fy, cx, cy = row.numbers()
    if min(fx, fy) <= 0:
        row.refuse(f"{' '.join(row.words)!r}: focal lengths are above 0")
    height, width = read_bgr(read_list(folder).paths[0]).shape[:2]
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    camera = Calibration(width, height, matrix, np.zeros(0), "plumb_bob")
    return rgbd_sequence(folder, camera, _DEPTH_SCALE)
