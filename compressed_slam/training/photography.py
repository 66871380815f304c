"""What tells two pictures of one place apart, beside the camera's motion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge_worlds.textures import photograph

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AS_IT_IS = 0.3  # share of the pictures
_BLURRED = 0.15
_LONGEST_BLUR = 9  # pixels


def photographed(rng: np.random.Generator, bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give a picture (H, W, 3) an exposure, a white balance, noise and a blur of its own."""
    if rng.random() < _BLURRED:
        bgr = _motion_blurred(rng, bgr)
    if rng.random() < _AS_IT_IS:
        return bgr
    return photograph(rng, bgr.astype(np.float32) / np.float32(255))


def _motion_blurred(rng: np.random.Generator, bgr: NDArray[np.uint8]) -> NDArray[Any]:
    """Blur along a line through every pixel, which stays the line's middle."""
    reach = _LONGEST_BLUR // 2
    angle, half = rng.uniform(0, np.pi), rng.uniform(1, reach)
    end = np.rint(half * np.array([np.cos(angle), np.sin(angle)])).astype(int)
    kernel = np.zeros((_LONGEST_BLUR, _LONGEST_BLUR), np.float32)
    middle = np.array([reach, reach])
    cv2.line(kernel, (middle - end).tolist(), (middle + end).tolist(), 1.0)
    return cv2.filter2D(bgr, -1, kernel / kernel.sum())
