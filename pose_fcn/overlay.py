"""Keypoints drawn on their picture."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def keypoint_colours(count: int) -> NDArray[Any]:
    """Well-told-apart BGR colours, (count, 3), the same for a keypoint everywhere."""
    hues = np.zeros((1, count, 3), np.uint8)
    hues[0, :, 0] = np.arange(count) * 150 // max(1, count - 1)
    hues[0, :, 1:] = (230, 255)
    colours: NDArray[Any] = cv2.cvtColor(hues, cv2.COLOR_HSV2BGR)[0]
    return colours


def draw_keypoints(
    bgr: NDArray[Any],
    positions: NDArray[np.floating],
    links: Sequence[tuple[int, int]] | None = None,
) -> NDArray[Any]:
    """Draw the found keypoints and the links between them on a copy.

    Args:
        bgr: (h, w, 3) uint8.
        positions: (k, 2) pixels, NaN where not found.
        links: pairs of indices; left out, a chain in the order of the keypoints.
    """
    out: NDArray[Any] = bgr.copy()
    radius = max(2, round(max(bgr.shape[:2]) / 110))
    found = ~np.isnan(positions).any(axis=1)
    # Fixed point with 4 bits keeps the sub-pixel part.
    points = np.rint(np.nan_to_num(positions) * 16).astype(int).tolist()
    for start, end in links if links is not None else pairwise(range(len(points))):
        if found[start] and found[end]:
            thickness = max(1, radius // 2)
            cv2.line(out, points[start], points[end], (255, 255, 255), thickness, cv2.LINE_AA, 4)
    for index, colour in enumerate(keypoint_colours(len(points)).tolist()):
        if found[index]:
            cv2.circle(out, points[index], radius * 16, colour, -1, cv2.LINE_AA, 4)
            cv2.circle(out, points[index], radius * 16, (0, 0, 0), 1, cv2.LINE_AA, 4)
    return out
