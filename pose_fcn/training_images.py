"""Rendered images into training batches: views, colours, and the maps to learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from pose_fcn.network import MAPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_worlds.arm.dataset import ImageSet

_SIGMA = 2.0  # of a keypoint's bell, in pixels of the map
_LINK_THICKNESS = 2
_CELL = 8  # smallest side of a blotted-out rectangle
_SPOIL_ODDS = 0.15


class TrainingImages:
    """Images of the arm and, numbered on after them, images without it.

    Attributes:
        keypoints: (n, 8, 2) float32 pixels u v, NaN in images without the arm.
        in_image: (n, 8) bool.
    """

    def __init__(self, arm: ImageSet, negatives: ImageSet | None, share: float) -> None:
        """Join the two sets; `share` of what is drawn is of `negatives`, if there are some."""
        self._arm, self._negatives, self._share = arm, negatives, share
        parts = [arm] if negatives is None else [arm, negatives]
        self.keypoints = np.concatenate([part.keypoints for part in parts])
        self.in_image = np.concatenate([part.in_image for part in parts])

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Draw the numbers of `count` images."""
        numbers = rng.integers(len(self._arm), size=count)
        if self._negatives is not None:
            without = rng.random(count) < self._share
            negatives = rng.integers(len(self._negatives), size=count)
            numbers = np.where(without, len(self._arm) + negatives, numbers)
        return numbers

    def visible(self, index: int) -> NDArray[np.float32]:
        """Keypoints of image `index`, (8, 2) pixels, NaN outside the picture."""
        inside = self.in_image[index, :, None]
        return np.where(inside, self.keypoints[index], np.nan).astype(np.float32)

    def bgr(self, index: int) -> NDArray[np.uint8]:
        """Image `index`, (size, size, 3) uint8 BGR, read-only."""
        if self._negatives is not None and index >= len(self._arm):
            return self._negatives.bgr(index - len(self._arm))
        return self._arm.bgr(index)


def draw_window_side(rng: np.random.Generator, sides: Sequence[int]) -> int:
    """Draw the side of a batch's windows so that each of `sides` gets about as many pixels."""
    odds = 1 / np.square(sides, dtype=float)
    return int(rng.choice(sides, p=odds / odds.sum()))


def random_view(
    rng: np.random.Generator, images: TrainingImages, index: int, side: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Image `index` turned, scaled and cropped to a square of `side` pixels.

    Returns:
        (side, side, 3) uint8 BGR, padded with black where the view leaves the image, and (8, 2)
        float32 keypoints in its pixels, NaN where they are outside.
    """
    bgr, keypoints = images.bgr(index), images.keypoints[index]
    turn = np.radians(rng.uniform(-12, 12))
    scale = rng.uniform(0.8, 1.2)
    centre = np.array([bgr.shape[1], bgr.shape[0]]) / 2
    if side < scale * max(bgr.shape[:2]):
        # A window smaller than the picture looks at the arm, not at the empty floor.
        near = keypoints[rng.integers(len(keypoints))]
        centre = near if images.in_image[index].all() else centre
        centre = centre + rng.uniform(-0.35, 0.35, 2) * side / scale
    else:
        centre = centre + rng.uniform(-0.1, 0.1, 2) * side
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    shift = np.array([side / 2, side / 2]) - linear @ centre
    affine = np.hstack([linear, shift[:, None]])
    view = cv2.warpAffine(bgr, affine, (side, side), flags=cv2.INTER_LINEAR)
    moved = (keypoints @ linear.T + shift).astype(np.float32)
    outside = (moved < -0.5) | (moved >= side - 0.5)  # noqa: PLR2004 - half a pixel
    moved[outside.any(axis=1) | ~images.in_image[index]] = np.nan
    return view, moved


def shrunk(bgr: NDArray[Any], scale: float) -> NDArray[Any]:
    """The picture at `scale` (at most 1) of its size, as the estimator scales camera images."""
    if scale == 1:
        return bgr
    size = (round(bgr.shape[1] * scale), round(bgr.shape[0] * scale))
    return cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)


def vary_colours(rng: np.random.Generator, view: NDArray[Any]) -> NDArray[Any]:
    """Another white balance, contrast and brightness, noise, blur, and a blotted-out patch."""
    gain = rng.uniform(0.85, 1.15) * rng.uniform(0.95, 1.05, 3)
    offset = rng.uniform(-12, 12)
    levels = np.arange(256)[:, None] * gain + offset
    table = np.clip(levels, 0, 255).astype(np.uint8).reshape(256, 1, 3)
    out: NDArray[Any] = cv2.LUT(view, table)
    if rng.random() < _SPOIL_ODDS:
        side = view.shape[0]
        height, width = rng.integers(_CELL, side // 5, 2)
        top, left = rng.integers(0, side - height), rng.integers(0, side - width)
        out[top : top + height, left : left + width] = rng.integers(0, 256, 3)
    if rng.random() < _SPOIL_ODDS:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.3, 1.2))
    if rng.random() < _SPOIL_ODDS:
        noise = np.empty(out.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(1 << 31)))
        cv2.randn(noise, 0, rng.uniform(2, 10))  # type: ignore[call-overload]
        out = cv2.add(out, noise, dtype=cv2.CV_8U)
    return out


def network_input(views: Sequence[NDArray[Any]]) -> torch.Tensor:
    """Pictures of one size, (height, width, 3) uint8 BGR, as the network's input.

    Returns:
        (pictures, 3, height, width) float32 RGB in 0..1, in the channels-last order of the pictures
        themselves, which training wants and which costs no transposition.
    """
    bgr = torch.from_numpy(np.stack(views))
    return bgr.flip(3).permute(0, 3, 1, 2).float().mul_(1 / 255)


def target_maps(
    keypoints: NDArray[np.float32], links: Sequence[tuple[int, int]], side: int
) -> NDArray[np.float32]:
    """The maps that the network should give: a bell on each keypoint, then the skeleton.

    Args:
        keypoints: (8, 2) pixels of the input, NaN where absent (their maps are empty).
        links: pairs of keypoint indices; a link with an absent end is not drawn.
        side: of the square input, pixels.

    Returns:
        (9, side / 2, side / 2) float32 in 0..1.
    """
    half = side // 2
    # Pixel k of the map covers the pixels 2k and 2k + 1 of the input.
    centres = (keypoints - 0.5) / 2
    grid = np.arange(half, dtype=np.float32)
    with np.errstate(invalid="ignore"):
        bells = np.exp(-((grid - centres[..., None]) ** 2) / (2 * _SIGMA**2))
    maps = np.zeros((MAPS, half, half), np.float32)
    maps[:-1] = np.nan_to_num(bells[:, 1, :, None] * bells[:, 0, None, :])
    shift = 4
    for start, end in links:
        ends = centres[[start, end]]
        if not np.isnan(ends).any():
            first, last = np.rint(ends * 2**shift).astype(int).tolist()
            cv2.line(maps[-1], first, last, 1.0, _LINK_THICKNESS, cv2.LINE_8, shift)
    maps[-1] = cv2.GaussianBlur(maps[-1], (0, 0), 1.0)
    return maps
