"""NDDS (Nvidia's data set synthesizer), DREAM and what is laid out like them.

Beside a frame's picture `000000.png` (or `.jpg`, `.rgb.jpg`) lies `000000.json` with what is in it,
and perhaps masks and depth. One `_camera_settings.json` describes the camera of all frames.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from edge_replay.datasets.files import read_depth_png
from edge_replay.datasets.listing import list_images
from edge_replay.datasets.sequence import FolderSequence, made_up_stamps
from edge_runtime.calibration import Calibration
from edge_runtime.errors import SettingError, first_problem
from edge_runtime.rows import read_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

CAMERA_FILE = "_camera_settings.json"

_RATE = 10.0
_DEPTH = ".depth.mm.16.png"  # the one depth picture whose unit is in its name
_UNITS_PER_METRE = 1000.0


class _Size(BaseModel):
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]


class _Intrinsics(BaseModel):
    fx: Annotated[float, Field(gt=0)]
    fy: Annotated[float, Field(gt=0)]
    cx: float
    cy: float


class _Camera(BaseModel):
    intrinsic_settings: _Intrinsics
    captured_image_size: _Size


class _CameraSettings(BaseModel):
    camera_settings: Annotated[list[_Camera], Field(min_length=1)]


def read_ndds(folder: Path) -> FolderSequence:
    """Read the pictures, the camera, and depth where its unit is known (`.depth.mm.16.png`).

    There are no times: stamps are made up, at 10 Hz. Masks are left out.

    Raises:
        SettingError: no pictures, or a camera that cannot be read.
    """
    images, others = list_images(folder)
    if not images:
        message = f"'{folder}' has a {CAMERA_FILE} but no pictures: unpack the data set anew"
        raise SettingError(message)
    depth_of = {other.name.removesuffix(_DEPTH): other for other in others if _has_unit(other)}
    left_out = len(others) - len(depth_of)
    return FolderSequence(
        stamps=made_up_stamps(range(len(images)), _RATE),
        timed=False,
        images=images,
        known_camera=read_ndds_camera(folder),
        ground_truth=None,
        depths=[_depth(depth_of.get(frame_name(image))) for image in images] if depth_of else (),
        notes=(f"{left_out} pictures of masks or depth are left out",) if left_out else (),
    )


def frame_name(image: Path) -> str:
    """Return what the files of one frame have in common: 000000 of 000000.rgb.jpg."""
    return image.stem.removesuffix(".rgb")


def read_ndds_camera(folder: Path) -> Calibration:
    """Read `_camera_settings.json`.

    Raises:
        SettingError: it cannot be read.
    """
    path = folder / CAMERA_FILE
    text = read_text(path, "the camera settings of NDDS")
    try:
        camera = _CameraSettings.model_validate_json(text).camera_settings[0]
    except ValidationError as error:
        message = (
            f"'{path}': {first_problem(error)}; it should be as NDDS writes it: camera_settings "
            "with intrinsic_settings and captured_image_size"
        )
        raise SettingError(message) from None
    k, size = camera.intrinsic_settings, camera.captured_image_size
    matrix = np.array([[k.fx, 0, k.cx], [0, k.fy, k.cy], [0, 0, 1]])
    return Calibration(size.width, size.height, matrix, np.zeros(0), "plumb_bob")


def _has_unit(path: Path) -> bool:
    return path.name.endswith(_DEPTH)


def _depth(path: Path | None) -> Callable[[], NDArray[np.float32]] | None:
    return partial(read_depth_png, path, _UNITS_PER_METRE) if path else None
