"""Which pairs of keyframes look at the same things closely enough to be matched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from compressed_slam.projection import frame_distance

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from compressed_slam.settings import ProximitySettings

    Pairs = list[tuple[int, int]]


def neighbours(first: int, end: int, radius: int) -> Pairs:
    """Return all ordered pairs of first..end-1 that are at most `radius` apart."""
    return [
        (i, j)
        for i in range(first, end)
        for j in range(max(first, i - radius), min(end, i + radius + 1))
        if i != j
    ]


def distance_table(
    poses: Tensor, disps: Tensor, intrinsics: Tensor, *, beta: float, since: int = 0
) -> NDArray[np.float32]:
    """Return the distances of all pairs (n, n), symmetric, as `projection.frame_distance` has them.

    Only those with a keyframe from `since` on are computed; the others, and those of keyframes with
    themselves, are infinite.
    """
    count = len(poses)
    ii, jj = torch.triu_indices(count, count, 1, device=poses.device)
    ii, jj = ii[jj >= since], jj[jj >= since]
    table = poses.new_full((count, count), torch.inf)
    table[ii, jj] = table[jj, ii] = frame_distance(poses, disps, intrinsics, ii, jj, beta=beta)
    distances: NDArray[np.float32] = table.cpu().numpy()
    return distances


def nearby(
    distances: NDArray[np.floating[Any]],
    settings: ProximitySettings,
    taken: Pairs,
    room: int,
    *,
    since: int = 0,
) -> Pairs:
    """Choose edges by distance, the nearest first, no two of them close to each other.

    Keyframes that follow each other are joined in any case, whatever the room, both ways. Then come
    the other pairs up to the threshold, both ways; each keeps those around it from being chosen,
    the wider the farther apart in time its two ends are. (The rule of DROID-SLAM's factor graph.)

    Args:
        distances: (n, n) symmetric, row and column k for keyframe k; infinite where two see nothing
            in common, or are not to be joined by distance.
        settings: threshold, radius and suppression.
        taken: edges that are there already; they suppress, and are not returned.
        room: most edges to return, but for those of keyframes that follow each other.
        since: at least one end of an edge is that keyframe or a later one.

    Returns:
        Ordered pairs (i, j), none of them twice.
    """
    count = len(distances)
    open_to_choice = np.where(distances <= settings.threshold, distances, np.inf)
    open_to_choice[np.tril_indices(count)] = np.inf
    open_to_choice[:, :since] = np.inf
    known = set(taken)
    for i, j in known:
        _suppress(open_to_choice, i, j, settings.suppress)
    chosen: Pairs = []
    for pair in neighbours(0, count, settings.radius + 1):
        if pair not in known and max(pair) >= since:
            chosen.append(pair)
            _suppress(open_to_choice, *pair, settings.suppress)
    while len(chosen) + 2 <= room:
        i, j = divmod(int(np.argmin(open_to_choice)), count)
        if not np.isfinite(open_to_choice[i, j]):
            break
        chosen += [pair for pair in ((i, j), (j, i)) if pair not in known]
        _suppress(open_to_choice, i, j, settings.suppress)
    return chosen


def _suppress(distances: NDArray[np.floating[Any]], i: int, j: int, suppress: int) -> None:
    """Close the pairs around (i, j), a diamond of the radius that their distance in time allows."""
    i, j = min(i, j), max(i, j)
    radius = max(min(j - i - 2, suppress), 0)
    rows, columns = np.ogrid[: distances.shape[0], : distances.shape[1]]
    distances[np.abs(rows - i) + np.abs(columns - j) <= radius] = np.inf
