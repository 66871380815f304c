"""Correlation lookup compiled for the CPU; `compressed_slam.correlation` says what it computes.

The positions looked up around a pixel all lie on the same fraction of a cell, so that one patch,
blended once along x and once along y, gives all of them. The kernels are serial and release the
interpreter's lock, for the caller to run edges in threads: parallel loops of numba end the process
where two threads meet in them and neither OpenMP nor TBB is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from edge_runtime.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

LEVELS = 4
RADIUS = 3
SIDE = 2 * RADIUS + 1
_PATCH = SIDE + 1


@njit()
def _place(position: float, size: int) -> tuple[int, float]:
    """Return the first cell of the patch around a position, and the fraction to blend by.

    What is far from the map, NaN included, comes to lie where the whole patch is outside.
    """
    near = min(np.float32(size + RADIUS), max(np.float32(-RADIUS - 1), position))
    cell = np.floor(near)
    return int(cell) - RADIUS, near - cell


@njit()
def _inside(first: int, size: int) -> tuple[int, int]:
    """Return which cells of a patch that begins at `first` lie in the map, as a range."""
    return max(0, -first), min(_PATCH, size - first)


# Sums in any order can use vector instructions.
@compiled(nogil=True, fastmath={"reassoc", "contract", "nsz"})
def look_up_maps(source: Floats, target: Floats, coords: Floats, scale: float, out: Floats) -> None:
    """Correlate every pixel with what lies around its position, and with nothing else.

    Args:
        source: (pixels, channels).
        target: (H, W, channels), one level.
        coords: (pixels, 2) x y in cells of level 0.
        scale: cells of this level to one of level 0.
        out: (pixels, SIDE^2) is filled; x offset first, then y offset.
    """
    height, width, channels = target.shape
    patch = np.zeros((_PATCH, _PATCH), target.dtype)
    rows = np.empty((_PATCH, SIDE), target.dtype)
    for pixel in range(len(coords)):
        left, fx = _place(coords[pixel, 0] * scale, width)
        top, fy = _place(coords[pixel, 1] * scale, height)
        first_column, end_column = _inside(left, width)
        first_row, end_row = _inside(top, height)
        if first_column > 0 or first_row > 0 or end_column < _PATCH or end_row < _PATCH:
            patch[:] = 0
        for i in range(first_row, end_row):
            for j in range(first_column, end_column):
                total = np.float32(0)
                for channel in range(channels):
                    total += source[pixel, channel] * target[top + i, left + j, channel]
                patch[i, j] = total
        # Blended along x, then along y.
        for i in range(_PATCH):
            for j in range(SIDE):
                rows[i, j] = patch[i, j] + fx * (patch[i, j + 1] - patch[i, j])
        for i in range(SIDE):
            for j in range(SIDE):
                out[pixel, SIDE * j + i] = rows[i, j] + fy * (rows[i + 1, j] - rows[i, j])
