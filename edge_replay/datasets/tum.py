"""TUM RGB-D (Sturm et al., 2012), and own recordings in the same layout.

`rgb.txt`, `depth.txt` (lines "timestamp filename"), `groundtruth.txt`; own recordings also have
`intrinsics.txt`, whose one line says "fx fy cx cy width height depth_scale" and, if the camera
distorts, OpenCV's coefficients after it. `depth_scale` are the units of a depth image per metre; a
folder without depth may leave it out, or write 0.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_replay.datasets.files import read_depth_png
from edge_replay.datasets.sequence import FolderSequence
from edge_runtime.calibration import Calibration
from edge_runtime.rows import read_rows, read_stamps
from edge_runtime.trajectory import associate, read_trajectory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

CAMERA_FILE = "intrinsics.txt"
_CAMERA_FORM = "fx fy cx cy width height depth_scale"
_SLOP_S = 0.02  # between a colour image and its depth, as the data set's own tool allows
_MODELS = {0: "plumb_bob", 4: "plumb_bob", 5: "plumb_bob", 8: "rational_polynomial"}
_FREIBURG = re.compile(r"(?:freiburg|fr)([123])(?:_|$)")
# As published with the data set: the colour camera, to which depth is registered.
_PUBLISHED = {
    "1": (517.3, 516.5, 318.6, 255.3, 0.2624, -0.9531, -0.0054, 0.0026, 1.1633),
    "2": (520.9, 521.0, 325.1, 249.7, 0.2312, -0.7849, -0.0033, -0.0001, 0.9172),
    "3": (535.4, 539.2, 320.1, 247.6),
}
_PUBLISHED_SIZE = (640, 480)
_PUBLISHED_SCALE = 5000.0


def read_tum(folder: Path) -> FolderSequence:
    """Read the lists; the camera is that of `intrinsics.txt`, else known by the folder's name.

    Raises:
        SettingError: a list or `intrinsics.txt` cannot be read.
    """
    camera, depth_scale = _camera(folder, has_depth=(folder / "depth.txt").is_file())
    return rgbd_sequence(folder, camera, depth_scale)


def rgbd_sequence(
    folder: Path, camera: Calibration | None, depth_scale: float | None
) -> FolderSequence:
    """Read the lists of a folder whose camera is known, or None.

    Args:
        folder: with `rgb.txt`, and perhaps `depth.txt` and `groundtruth.txt`.
        camera: of the images.
        depth_scale: units of a depth image per metre; None leaves depth out.

    Raises:
        SettingError: a list cannot be read.
    """
    images = read_list(folder)
    has_depth = (folder / "depth.txt").is_file()
    depths: list[Callable[[], NDArray[np.float32]] | None] = []
    if has_depth and depth_scale is not None:
        found = read_list(folder, "depth.txt")
        depths = [None] * len(images.paths)
        for image, depth in zip(*associate(images.stamps, found.stamps, _SLOP_S), strict=True):
            depths[image] = partial(read_depth_png, found.paths[depth], depth_scale)
    truth = folder / "groundtruth.txt"
    return FolderSequence(
        stamps=images.stamps,
        images=images.paths,
        known_camera=camera,
        camera_remedy=(
            f"the camera of '{folder}' is unknown: write {CAMERA_FILE} with the line "
            f"'{_CAMERA_FORM}' (and distortion), or name the folder as TUM does (freiburg1_...)"
        ),
        ground_truth=read_trajectory(truth) if truth.is_file() else None,
        depths=depths,
        notes=(f"depth is left out: {CAMERA_FILE} is needed, which says its scale",)
        if has_depth and depth_scale is None
        else (),
    )


class Listed(NamedTuple):
    """Image files with their times, (N,) ns, rising."""

    stamps: NDArray[np.int64]
    paths: list[Path]


def read_list(folder: Path, name: str = "rgb.txt") -> Listed:
    """Read a list of images.

    Raises:
        SettingError: it cannot be read, is empty, or its times do not rise.
    """
    rows = read_rows(folder / name, "timestamp filename")
    return Listed(read_stamps(rows), [folder / row.words[1] for row in rows])


def _camera(folder: Path, *, has_depth: bool) -> tuple[Calibration | None, float | None]:
    path = folder / CAMERA_FILE
    if path.is_file():
        return read_intrinsics(path, has_depth=has_depth)
    match = _FREIBURG.search(folder.resolve().name)
    if match is None:
        return None, None
    numbers = _PUBLISHED[match[1]]
    return _calibration(*_PUBLISHED_SIZE, *numbers), _PUBLISHED_SCALE


def read_intrinsics(path: Path, *, has_depth: bool) -> tuple[Calibration, float | None]:
    """Read `intrinsics.txt`: the camera, and the units of a depth image per metre.

    Args:
        path: the file.
        has_depth: whether the scale is needed; it is None where it is not.

    Raises:
        SettingError: the file cannot be read, or says what no camera has.
    """
    form = _CAMERA_FORM if has_depth else _CAMERA_FORM.removesuffix(" depth_scale")
    row = read_rows(path, form, more=True)[0]
    fx, fy, cx, cy, width, height, *more = row.numbers()
    depth_scale, distortion = (more[0], more[1:]) if more else (None, [])
    sizes = [fx, fy, width, height]
    if has_depth and depth_scale is not None:
        sizes.append(depth_scale)
    if min(sizes) <= 0 or width % 1 or height % 1:
        row.refuse(
            f"{' '.join(row.words)!r}: focal lengths, a size in whole pixels and the depth scale "
            "are above 0"
        )
    if len(distortion) not in _MODELS:
        row.refuse(
            f"{len(distortion)} distortion coefficients: {', '.join(map(str, _MODELS))} are allowed"
        )
    camera = _calibration(int(width), int(height), fx, fy, cx, cy, *distortion)
    return camera, depth_scale if has_depth else None


def _calibration(width: int, height: int, *numbers: float) -> Calibration:
    fx, fy, cx, cy, *distortion = numbers
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    return Calibration(width, height, matrix, np.array(distortion), _MODELS[len(distortion)])
