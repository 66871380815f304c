"""TartanAir (Wang et al., 2020): a trajectory folder such as `Easy/P000`, rendered in stereo."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from edge_replay.datasets.files import read_depth_npy
from edge_replay.datasets.listing import in_order
from edge_replay.datasets.sequence import FolderSequence, RightCamera, made_up_stamps
from edge_runtime.calibration import Calibration
from edge_runtime.errors import SettingError
from edge_runtime.rows import read_poses, read_rows
from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_MATRIX = ((320.0, 0.0, 320.0), (0.0, 320.0, 240.0), (0.0, 0.0, 1.0))
_SIZE = (640, 480)
_BASELINE = 0.25  # published as disparity = 80 / depth, with a focal length of 320
# Poses are published in NED axes: x ahead, y right, z down. The optical frame has x right, y down,
# z ahead. The same turn is made of the world's axes.
_OPTICAL_AXES = (1, 2, 0, 4, 5, 3, 6)


def read_tartanair(folder: Path) -> FolderSequence:
    """Read `image_left`, and `depth_left`, `image_right` and `pose_left.txt` where they are.

    There are no times: stamps are made up, at 30 Hz. The sky is seen, about 10 km away.

    Raises:
        SettingError: no images, or another number of poses than of images.
    """
    images = in_order((folder / "image_left").glob("*_left.png"))
    stamps = made_up_stamps(range(len(images)))
    camera = Calibration(*_SIZE, np.array(_MATRIX), np.zeros(0), "plumb_bob")
    depths = _partners(images, folder / "depth_left", "_left_depth.npy")
    rights: list[Path | None] = []
    right_camera = None
    if (folder / "image_right").is_dir():
        rights = _partners(images, folder / "image_right", "_right.png")
        from_left = np.eye(4)
        from_left[0, 3] = -_BASELINE
        right_camera = RightCamera(camera, from_left)
    return FolderSequence(
        stamps=stamps,
        timed=False,
        images=images,
        known_camera=camera,
        ground_truth=_ground_truth(folder / "pose_left.txt", stamps),
        depths=[partial(read_depth_npy, path) if path else None for path in depths],
        rights=rights,
        right_camera=right_camera,
    )


def _partners(images: Sequence[Path], folder: Path, suffix: str) -> list[Path | None]:
    paths = [folder / (image.name.removesuffix("_left.png") + suffix) for image in images]
    return [path if path.is_file() else None for path in paths]


def _ground_truth(path: Path, stamps: NDArray[np.int64]) -> Trajectory | None:
    if not path.is_file():
        return None
    rows = read_rows(path, "tx ty tz qx qy qz qw")
    if len(rows) != len(stamps):
        message = (
            f"'{path}' has {len(rows)} poses for {len(stamps)} images in image_left: one each; "
            "unpack the data set anew"
        )
        raise SettingError(message)
    return Trajectory.of_known(stamps, read_poses(rows, _OPTICAL_AXES))
