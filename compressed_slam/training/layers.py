"""Pairs of pictures made of flat layers that move apart: flow of any pictures, exact to the pixel.

As in FlyingChairs (Dosovitskiy et al., 2015), but the layers are tilted, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from compressed_slam.encoder import STRIDE
from compressed_slam.training.clips import Flow, map_samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

_MORE_SMALL = 2  # exponent: how much more often small motions are drawn than large ones
_TILT = 0.25  # of the motion, by which each corner moves apart from the others
_STEEPEST = 0.15  # share of the picture that a corner moves apart from the others at most
_APART = 0.5  # of the background's motion, by which a layer moves apart from it
_FEWEST_APART = 6.0  # pixels
_MOST_LAYERS = 3  # the background is one
_CORNERS = (3, 9)  # of a layer's outline
_REACH = (0.12, 0.4)  # of the picture's longer side, from a layer's middle to its corners


class PicturePair(NamedTuple):
    """Two pictures (H, W, 3) BGR and the flow from the first to the second."""

    first: Picture
    second: Picture
    flow: Flow


def layered_pair(
    rng: np.random.Generator,
    draw: Callable[[], Picture],
    size: tuple[int, int],
    largest: float,
) -> PicturePair:
    """Move layers cut out of pictures.

    Args:
        rng: random numbers.
        draw: gives a picture (H, W, 3), at least as large as `size`; one for every layer.
        size: width, height of the pair.
        largest: motion of the background, pixels.
    """
    width, height = size
    motion = _displacement(rng, largest * rng.random() ** _MORE_SMALL)
    samples = map_samples(size)
    first, second = np.empty((height, width, 3), np.uint8), np.empty((height, width, 3), np.uint8)
    label, shown = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    landing = samples
    for layer in range(int(rng.integers(1, _MOST_LAYERS + 1))):
        texture = _part(rng, draw(), size)
        if layer == 0:
            outline, moves = np.ones((height, width), np.uint8), motion
        else:
            apart = max(_APART * float(np.linalg.norm(motion)), _FEWEST_APART) * rng.random()
            outline, moves = _outline(rng, size), motion + _displacement(rng, apart)
        matrix = _homography(rng, size, moves)
        # Beyond its border the background goes on mirrored; the other layers end.
        moved = cv2.warpPerspective(texture, matrix, size, borderMode=cv2.BORDER_REFLECT_101)
        covers = cv2.warpPerspective(outline, matrix, size, flags=cv2.INTER_NEAREST)
        if layer == 0:
            covers[:] = 1
        first[outline > 0], second[covers > 0] = texture[outline > 0], moved[covers > 0]
        label[outline > 0], shown[covers > 0] = layer, layer
        there = cv2.perspectiveTransform(samples.reshape(1, -1, 2), matrix).reshape(samples.shape)
        on_layer = label[::STRIDE, ::STRIDE, None] == layer
        landing = np.where(on_layer, there, landing)
    nearest = np.rint(landing).astype(np.int64)
    inside: NDArray[np.bool_] = np.all((nearest >= 0) & (nearest < (width, height)), axis=-1)
    x, y = np.moveaxis(np.where(inside[..., None], nearest, 0), -1, 0)
    visible = inside & (shown[y, x] == label[::STRIDE, ::STRIDE])
    cells = ((landing - samples) / STRIDE).astype(np.float32)
    return PicturePair(first, second, Flow(cells, np.ones_like(visible), visible))


def _displacement(rng: np.random.Generator, length: float) -> NDArray[np.float64]:
    angle = rng.uniform(0, 2 * np.pi)
    return length * np.array([np.cos(angle), np.sin(angle)])


def _homography(
    rng: np.random.Generator, size: tuple[int, int], motion: NDArray[np.float64]
) -> NDArray[Any]:
    """A homography (3, 3) that moves the picture's corners by about `motion` (2,) pixels."""
    width, height = size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    tilt = min(_TILT * float(np.linalg.norm(motion)), _STEEPEST * min(size))
    moved = corners + motion + rng.uniform(-tilt, tilt, (4, 2))
    return cv2.getPerspectiveTransform(corners, moved.astype(np.float32))


def _part(rng: np.random.Generator, picture: Picture, size: tuple[int, int]) -> Picture:
    """A random part of a picture, of `size` or up to twice as wide and then scaled down."""
    high, wide = picture.shape[:2]
    zoom = rng.uniform(1, min(wide / size[0], high / size[1], 2.0))
    width, height = int(size[0] * zoom), int(size[1] * zoom)
    x, y = rng.integers(wide - width + 1), rng.integers(high - height + 1)
    part = picture[y : y + height, x : x + width]
    return cv2.resize(part, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _outline(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A star-shaped layer: (H, W), 1 where it is."""
    count = int(rng.integers(*_CORNERS))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    reach = max(size) * rng.uniform(*_REACH, count)
    corners = rng.uniform(0, size) + reach[:, None] * np.stack(
        [np.cos(angles), np.sin(angles)], axis=1
    )
    mask = np.zeros((size[1], size[0]), np.uint8)
    cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 1)
    return mask
