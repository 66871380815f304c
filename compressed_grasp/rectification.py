"""Takes a lens's distortion out of colour and depth images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.calibration import Calibration


class Rectifier:
    """Makes images as a pinhole camera of the same matrix would; one camera after the other.

    Pixels are moved, not mixed: a depth between front and back is nowhere.
    """

    def __init__(self) -> None:
        self._camera: Calibration | None = None

    def __call__(
        self, color: NDArray[np.uint8], depth: NDArray[np.float32], camera: Calibration
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Rectify images of one size, (h, w, 3) and (h, w); depth is NaN where none was taken."""
        if not camera.distortion.any():
            return color, depth
        if self._camera is not camera:
            self._camera, self._places = camera, _places(camera)
        x, y = self._places
        moved_color = cv2.remap(color, x, y, cv2.INTER_NEAREST)
        moved_depth = cv2.remap(depth, x, y, cv2.INTER_NEAREST, borderValue=float("nan"))
        return moved_color.astype(np.uint8, copy=False), moved_depth.astype(np.float32, copy=False)


def _places(camera: Calibration) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Columns and rows of the image where the rectified pixels come from, each (h, w)."""
    size = (camera.width, camera.height)
    of_lens = (camera.matrix, camera.distortion, np.eye(3), camera.matrix, size, cv2.CV_32FC1)
    if camera.model == "equidistant":
        x, y = cv2.fisheye.initUndistortRectifyMap(*of_lens)
    else:
        x, y = cv2.initUndistortRectifyMap(*of_lens)
    return x.astype(np.float32, copy=False), y.astype(np.float32, copy=False)
