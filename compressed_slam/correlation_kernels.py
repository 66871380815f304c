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
def _blend(patch: Floats, rows: Floats, fx: float, fy: float, out: Floats) -> None:
    """Blend the patch along x into `rows`, then along y into `out` (SIDE^2,)."""
    for y in range(_PATCH):
        for x in range(SIDE):
            rows[y, x] = patch[y, x] + fx * (patch[y, x + 1] - patch[y, x])
    for x in range(SIDE):
        for y in range(SIDE):
            out[SIDE * x + y] = rows[y, x] + fy * (rows[y + 1, x] - rows[y, x])


# A sum in any order can use vector instructions.
@njit(fastmath={"reassoc", "contract", "nsz"})
def _dot(one: Floats, other: Floats) -> np.floating[Any]:
    total: np.floating[Any] = np.float32(0)
    for k in range(one.size):
        total += one[k] * other[k]
    return total


@compiled(nogil=True)
def look_up_volume(volume: Floats, coords: Floats, scale: float, out: Floats) -> None:
    """Read around every pixel's position in the pixel's own map.

    Args:
        volume: (pixels, H, W), correlation of each pixel with the cells of one level.
        coords: (pixels, 2) x y in cells of level 0.
        scale: cells of this level to one of level 0.
        out: (SIDE^2, pixels) is filled; x offset first, then y offset.
    """
    _, height, width = volume.shape
    patch = np.empty((_PATCH, _PATCH), volume.dtype)
    rows = np.empty((_PATCH, SIDE), volume.dtype)
    for pixel in range(len(coords)):
        left, fx = _place(coords[pixel, 0] * scale, width)
        top, fy = _place(coords[pixel, 1] * scale, height)
        for i in range(_PATCH):
            for j in range(_PATCH):
                y, x = top + i, left + j
                inside = y >= 0 and y < height and x >= 0 and x < width
                patch[i, j] = volume[pixel, y, x] if inside else 0
        _blend(patch, rows, fx, fy, out[:, pixel])


@compiled(nogil=True)
def look_up_maps(source: Floats, target: Floats, coords: Floats, scale: float, out: Floats) -> None:
    """Correlate every pixel with what lies around its position, and with nothing else.

    Args:
        source: (pixels, channels).
        target: (H, W, channels), one level.
        coords: as in `look_up_volume`.
        scale: likewise.
        out: likewise.
    """
    height, width, _ = target.shape
    patch = np.empty((_PATCH, _PATCH), target.dtype)
    rows = np.empty((_PATCH, SIDE), target.dtype)
    for pixel in range(len(coords)):
        left, fx = _place(coords[pixel, 0] * scale, width)
        top, fy = _place(coords[pixel, 1] * scale, height)
        for i in range(_PATCH):
            for j in range(_PATCH):
                y, x = top + i, left + j
                inside = y >= 0 and y < height and x >= 0 and x < width
                patch[i, j] = _dot(source[pixel], target[y, x]) if inside else 0
        _blend(patch, rows, fx, fy, out[:, pixel])
