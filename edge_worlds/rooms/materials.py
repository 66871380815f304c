"""Pictures for surfaces: a pattern, shapes of all sizes on it, grain. Corners at every scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge_worlds import textures

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LARGEST_PATTERN = 640  # pixels; a larger surface mirrors it
_SMALLEST_SHAPE = 1.5  # pixels
_PIXELS_FOR_A_SHAPE = 1600
_SUBPIXEL_BITS = 4


def palette(
    rng: np.random.Generator, count: int, saturation: tuple[float, float]
) -> NDArray[np.float32]:
    """Colours that go together, (count, 3) BGR in 0..1: two hues and their neighbours."""
    hues = rng.uniform(0, 360, 2)[rng.integers(0, 2, count)] + rng.normal(0, 20, count)
    hsv = np.stack([hues % 360, rng.uniform(*saturation, count), rng.uniform(0.35, 0.95, count)])
    row = hsv.T[None].astype(np.float32)
    colours: NDArray[np.float32] = cv2.cvtColor(row, cv2.COLOR_HSV2BGR)[0]
    return colours


def material(
    rng: np.random.Generator,
    size: tuple[int, int],
    colours: NDArray[np.float32],
    contrast: float,
) -> NDArray[np.uint8]:
    """A surface of `size` (width, height) pixels, (height, width, 3) uint8 BGR.

    A pattern in two of `colours` (n, 3) and shapes in all of them; `contrast` in 0..1 says how much
    they stand out.
    """
    width, height = size
    side = min(max(size), _LARGEST_PATTERN)
    pattern = textures.surface(rng, side).mean(axis=2)
    more = ((0, max(height - side, 0)), (0, max(width - side, 0)))
    pattern = np.pad(pattern, more, "symmetric")[:height, :width, None]
    low, high = np.quantile(pattern[::4, ::4], (0.02, 0.98)).tolist()
    share = contrast * np.clip((pattern - low) / (high - low + 0.05), 0, 1)
    one, other = colours[rng.choice(len(colours), 2, replace=False)]
    picture = (255 * (one + share * (other - one))).astype(np.uint8)
    opacity = 0.4 + 0.55 * contrast
    shapes = _with_shapes(rng, picture, colours)
    return _with_grain(rng, cv2.addWeighted(shapes, opacity, picture, 1 - opacity, 0))


def _with_shapes(
    rng: np.random.Generator, picture: NDArray[np.uint8], colours: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Polygons, large ones first, as many of each octave of sizes: rich from near and from far."""
    height, width = picture.shape[:2]
    count = width * height // _PIXELS_FOR_A_SHAPE
    largest = max(2 * _SMALLEST_SHAPE, min(width, height) / 10)
    octaves = rng.uniform(np.log(_SMALLEST_SHAPE), np.log(largest), count)
    radii = np.sort(np.exp(octaves))[::-1]
    centres = rng.uniform((0, 0), (width, height), (count, 2))
    corners = rng.integers(3, 7, count)
    angles = rng.uniform(0, 2 * np.pi, (count, 6))
    reach = radii[:, None] * rng.uniform(0.6, 1.4, (count, 6))
    chosen = colours[rng.integers(len(colours), size=count)] + rng.normal(0, 0.08, (count, 3))
    bgr = 255 * np.clip(chosen, 0, 1)
    drawn: NDArray[np.uint8] = picture.copy()
    for k in range(count):
        turn = np.sort(angles[k, : corners[k]])
        arms = reach[k, : corners[k], None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        ring = np.rint((centres[k] + arms) * 2**_SUBPIXEL_BITS).astype(np.int32)
        cv2.fillPoly(drawn, [ring], bgr[k].tolist(), cv2.LINE_AA, _SUBPIXEL_BITS)
    return drawn


def _with_grain(rng: np.random.Generator, picture: NDArray[Any]) -> NDArray[np.uint8]:
    fine = rng.standard_normal(picture.shape[:2], dtype=np.float32)
    grain = 5 * fine + 14 * cv2.GaussianBlur(fine, (0, 0), 1.2)
    grained: NDArray[np.uint8] = np.clip(picture + grain[..., None], 0, 255).astype(np.uint8)
    return grained
