"""Batches of trials to learn from: turned, mirrored and shifted, with what each action is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from compressed_grasp.action import ANGLES
from compressed_grasp.learning.trials import to_metres

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressed_grasp.learning.trials import Trials

_SHIFT = 6  # cells
_PUSH, _GRASP = 0, ANGLES  # first channels
_JAW_ANGLES = ANGLES // 2


@dataclass(frozen=True)
class Samples:
    """States and the worth of what was tried in them.

    Attributes:
        heights: (states, side, side) uint8, as of `Trials`.
        state: (n,) that an action was tried in, ascending.
        cell: (n, 2) column and row.
        angle: (n,) its index.
        push: (n,) whether it was a push, else it was a grasp.
        value: (n,) float32, 0..1.
    """

    heights: NDArray[np.uint8]
    state: NDArray[np.int64]
    cell: NDArray[np.int64]
    angle: NDArray[np.int64]
    push: NDArray[np.bool_]
    value: NDArray[np.float32]

    def of(self, states: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return for each of `states` the indices of what was tried in it."""
        low = np.searchsorted(self.state, states, "left")
        high = np.searchsorted(self.state, states, "right")
        return [np.arange(a, b) for a, b in zip(low, high, strict=True)]


def samples(trials: Trials, push_values: NDArray[np.float32] | None = None) -> Samples:
    """Put grasps and pushes into one list.

    Args:
        trials: what was tried.
        push_values: (changed,) what each of the states after a push is worth; a push that changed
            nothing is worth nothing. Left out: there are no pushes.
    """
    rows, value = [trials.grasps], [trials.grasps[:, 4].astype(np.float32)]
    if push_values is not None:
        after = trials.pushes[:, 4]
        rows.append(trials.pushes)
        # The last value is that of -1.
        value.append(np.append(push_values, 0).astype(np.float32)[after])
    joined = np.concatenate(rows).astype(np.int64)
    push = np.arange(len(joined)) >= len(trials.grasps)
    order = np.argsort(joined[:, 0], kind="stable")
    joined = joined[order]
    return Samples(
        trials.heights,
        joined[:, 0],
        joined[:, 2:0:-1],
        joined[:, 3],
        push[order],
        np.concatenate(value)[order],
    )


@dataclass(frozen=True)
class Batch:
    """States, and what was tried in them.

    Attributes:
        height: (size, 1, side, side) float32 [m], unseen 0.
        index: (n, 4) of image, channel of the network's logits, row and column.
        value: (n,) float32.
    """

    height: NDArray[np.float32]
    index: NDArray[np.int64]
    value: NDArray[np.float32]


def draw_batch(data: Samples, size: int, rng: np.random.Generator) -> Batch:
    """Draw states; each is turned, mirrored and shifted at random."""
    return make_batch(data, rng.integers(len(data.heights), size=size), rng)


def make_batch(
    data: Samples, states: NDArray[np.int64], rng: np.random.Generator | None = None
) -> Batch:
    """Put states together; without `rng` they are as they were."""
    height = np.empty((len(states), 1, *data.heights.shape[1:]), np.float32)
    index, chosen = [], []
    for k, (state, tried) in enumerate(zip(states, data.of(states), strict=True)):
        picture = to_metres(data.heights[state])
        cell, angle = data.cell[tried], data.angle[tried]
        if rng is not None:
            picture, cell, angle = _moved(picture, cell, angle, rng)
        height[k, 0] = picture
        push = data.push[tried]
        channel = np.where(push, angle, _GRASP + angle % _JAW_ANGLES)
        within = ((cell >= 0) & (cell < picture.shape[0])).all(axis=1)
        image = np.full(len(tried), k)
        index.append(np.column_stack([image, channel, cell[:, 1], cell[:, 0]])[within])
        chosen.append(tried[within])
    return Batch(height, np.concatenate(index), data.value[np.concatenate(chosen)])


def _moved(
    picture: NDArray[np.float32],
    cell: NDArray[np.int64],
    angle: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Turn by a multiple of 22.5 degrees, mirror every other one, and shift."""
    side = picture.shape[0]
    middle = (side - 1) / 2
    turns = int(rng.integers(ANGLES))
    cosine, sine = (f(turns * 2 * np.pi / ANGLES) for f in (np.cos, np.sin))
    linear = np.array([[cosine, -sine], [sine, cosine]])
    angle = angle + turns
    if rng.random() < 0.5:  # noqa: PLR2004
        linear = np.diag([-1.0, 1.0]) @ linear
        angle = ANGLES // 2 - angle
    shift = rng.integers(-_SHIFT, _SHIFT + 1, 2)
    offset = middle + shift - linear @ (middle, middle)
    affine = np.column_stack([linear, offset])
    turned = cv2.warpAffine(picture, affine, (side, side), flags=cv2.INTER_NEAREST)
    moved = np.rint(cell @ linear.T + offset).astype(np.int64)
    return turned.astype(np.float32), moved, angle % ANGLES
