"""Expansion clustering: from a keypoint's map to its coordinates (after arXiv 2205.13272)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Clusters(NamedTuple):
    """The best cluster of every map.

    Attributes:
        positions: (k, 2) float32, x y in pixels of the map, centres of pixels at integers; NaN
            where nothing was found.
        scores: (k,) float32, the cluster's highest value; where nothing was found the map's
            highest finite value, or 0.
        found: (k,) bool.
    """

    positions: NDArray[np.float32]
    scores: NDArray[np.float32]
    found: NDArray[np.bool_]


def expansion_clustering(
    maps: NDArray[np.float32], seed_threshold: float, grow_share: float
) -> Clusters:
    """Locate one keypoint in every map.

    A cluster grows from its seeds, the pixels of at least `seed_threshold`, over all 8-connected
    neighbours of at least `grow_share` of the map's highest value: so a faint response is as narrow
    as a clear one. A map may have several clusters; the one with the largest sum of squared values
    wins (of equals, the first in reading order), so a broad response beats a lone spike. The
    keypoint is the centre of the winner's pixels, weighted by their values.

    Non-finite pixels count as 0. A blob cut by the border gives the centre of the part inside.
    An empty map, or one without a seed, gives "not found".

    Args:
        maps: (k, height, width), values usually in 0..1.
        seed_threshold: least value of a seed.
        grow_share: of the map's highest value, which every pixel of a cluster has.

    Raises:
        ValueError: `maps` has another number of dimensions, or a threshold is out of range.
    """
    if maps.ndim != 3:  # noqa: PLR2004
        message = f"maps have shape {maps.shape}; expected (keypoints, height, width)"
        raise ValueError(message)
    if not (seed_threshold > 0 and 0 < grow_share <= 1):
        message = f"expected 0 < seed ({seed_threshold}) and 0 < grow_share ({grow_share}) <= 1"
        raise ValueError(message)
    count, height, width = maps.shape
    values: NDArray[np.float32] = maps.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        values = np.where(np.isfinite(values), values, np.float32(0))
    tops = values.reshape(count, -1).max(axis=1, initial=0.0)
    # Where there is no seed nothing grows.
    least = np.where(tops >= seed_threshold, grow_share * tops, np.inf).astype(np.float32)
    # All maps in one tall picture, a blank row after each: one labelling serves them all.
    tall = np.zeros((count, height + 1, width), bool)
    np.greater_equal(values, least[:, None, None], out=tall[:, :height])
    _, labels = cv2.connectedComponents(tall.view(np.uint8).reshape(-1, width), connectivity=8)
    positions = np.full((count, 2), np.nan, np.float32)
    found = np.zeros(count, bool)

    inside = np.flatnonzero(tall)
    if inside.size == 0:
        return Clusters(positions, tops, found)
    row, x = np.divmod(inside, width)
    owner, y = np.divmod(row, height + 1)
    cluster = labels.reshape(-1)[inside].astype(np.intp) - 1
    grown = values[owner, y, x]
    value = grown.astype(np.float64)
    mass = np.bincount(cluster, value)
    strength = np.bincount(cluster, value**2)
    peak = np.zeros(mass.size, np.float32)
    np.maximum.at(peak, cluster, grown)
    keypoint = np.zeros(mass.size, np.intp)
    keypoint[cluster] = owner

    seeded = np.flatnonzero(peak >= seed_threshold)
    # The strongest last, of equals the first in reading order last: it is the one that stays.
    order = seeded[np.lexsort((-seeded, strength[seeded]))]
    winner = np.full(count, -1)
    winner[keypoint[order]] = order
    found = winner >= 0
    best = winner[found]
    centres = np.stack([np.bincount(cluster, value * x), np.bincount(cluster, value * y)], axis=1)
    positions[found] = (centres[best] / mass[best, None]).astype(np.float32)
    scores = tops
    scores[found] = peak[best]
    return Clusters(positions, scores, found)
