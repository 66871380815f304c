"""The rectification of a stereo pair: R and P of both cameras, as camera infos have them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_runtime.calibration import Calibration

# alpha 0 zooms in until nothing black shows.
_PINHOLE = partial(cv2.stereoRectify, flags=cv2.CALIB_ZERO_DISPARITY, alpha=0)
_RECTIFY: dict[str, Callable[..., Any]] = {
    "plumb_bob": _PINHOLE,
    "rational_polynomial": _PINHOLE,
    "equidistant": partial(cv2.fisheye.stereoRectify, flags=cv2.CALIB_ZERO_DISPARITY),
}


def rectify_pair(
    left: Calibration, right: Calibration, from_left: NDArray[np.float64]
) -> tuple[Calibration, Calibration]:
    """Give both cameras the `rotation` and `projection` that put a point on one row of both images.

    Args:
        left: camera.
        right: camera, of images of the same size.
        from_left: (4, 4) transform of points from the left optical frame to the right one, metres.

    Raises:
        SettingError: a distortion model that is unknown, two different ones, or cameras that do
            not stand side by side.
    """
    if left.model != right.model:
        message = (
            f"the cameras of the pair have the distortion models {left.model} and {right.model}: "
            "calibrate both with the same one"
        )
        raise SettingError(message)
    if left.model not in _RECTIFY:
        message = f"unknown distortion model '{left.model}': known are {', '.join(_RECTIFY)}"
        raise SettingError(message)
    # OpenCV takes the translation as a column, and no parts of other arrays.
    rotation, translation = from_left[:3, :3].copy(), from_left[:3, 3:].copy()
    if -translation[0, 0] <= np.abs(translation[1:, 0]).max():
        message = (
            f"the left camera stands at {translation[:, 0].tolist()} (x y z) of the right one: it "
            "must be mainly along -x; check which is which, and that they stand side by side"
        )
        raise SettingError(message)
    turn_left, turn_right, onto_left, onto_right, *_ = _RECTIFY[left.model](
        left.matrix,
        coefficients(left),
        right.matrix,
        coefficients(right),
        (left.width, left.height),
        rotation,
        translation,
    )
    return (
        replace(left, rotation=turn_left, projection=onto_left),
        replace(right, rotation=turn_right, projection=onto_right),
    )


def coefficients(camera: Calibration) -> NDArray[np.float64]:
    """Return the distortion as OpenCV takes it of any model: an empty one is four zeros."""
    return camera.distortion if camera.distortion.size else np.zeros(4)
