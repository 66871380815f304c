"""The camera of each image of a folder: what the data set says, fitted to the image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.calibration import Calibration

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAME_SHAPE = 0.01  # by which the two factors of a resized image may differ


class Cameras:
    """The camera of each image."""

    def __init__(self, known: Calibration | None, matrix: tuple[float, ...] | None) -> None:
        """Take the data set's camera, or else a row-major matrix of images of any size."""
        self._known = known
        self._matrix = None if matrix is None else np.array(matrix, np.float64).reshape(3, 3)
        self._notes: dict[str, None] = {}
        if known is None and matrix is None:
            self._note("no camera matrix is known, so the bag has no camera info (see --camera)")

    @property
    def notes(self) -> list[str]:
        """What was wrong with the camera, each said once."""
        return list(self._notes)

    def of(self, bgr: NDArray[np.uint8]) -> Calibration | None:
        """Return the camera of an image, (H, W, 3); None where it is unknown."""
        height, width = bgr.shape[:2]
        if self._known is None:
            if self._matrix is None:
                return None
            return Calibration(width, height, self._matrix, np.zeros(0), "plumb_bob")
        size = f"{self._known.width}x{self._known.height}"
        camera = _resized(self._known, width, height)
        if camera is None:
            self._note(f"no camera info for images of {width}x{height}: the camera's are {size}")
        elif camera is not self._known:
            self._note(f"the camera of {size} is scaled to the images of {width}x{height}")
        return camera

    def _note(self, text: str) -> None:
        self._notes[text] = None


def _resized(camera: Calibration, width: int, height: int) -> Calibration | None:
    """Return the camera of a smaller or larger copy of its images; None for one cut out of them."""
    if (camera.width, camera.height) == (width, height):
        return camera
    across, down = width / camera.width, height / camera.height
    if abs(across / down - 1) > _SAME_SHAPE:
        return None
    # Centres of pixels are at integers.
    scale = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])
    projection = None if camera.projection is None else scale @ camera.projection
    return replace(
        camera, width=width, height=height, matrix=scale @ camera.matrix, projection=projection
    )
