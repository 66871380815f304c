"""What a single camera's first map settles on, of the scene and its reversal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from compressed_slam.factor_graph import FactorGraph
    from compressed_slam.keyframes import Keyframes

_SETTLING, _GROWING = 16, 4  # iterations on the same matches
_AT_ONCE = 3  # keyframes that need no guess from the one before
_FARTHEST = 0.2  # of the mean disparity; becomes the nearest when it is reversed


def resolve_depth_reversal(graph: FactorGraph, keyframes: Keyframes) -> None:
    """Keep the map that was made of all keyframes at once, or another one that fits better.

    A narrow view's flow is nearly that of the same scene with near and far reversed, and from
    unknown poses and depths the adjustment may end there: the valley is deep, and more steps do not
    leave it. Two more guesses are tried on the same matches, a map that grows keyframe by keyframe,
    and the better one reversed; the first keyframe's pose stays.
    """
    count = len(keyframes)
    poses, disps = keyframes.poses[:count], keyframes.disps[:count]
    free = torch.arange(count, device=poses.device) > 0

    def grow() -> None:
        poses[1:], disps[:] = poses[0].clone(), 1.0
        for newest in range(1, count):
            if newest > _AT_ONCE:
                poses[newest] = poses[newest - 1].clone()
                disps[newest] = disps[newest - 1].mean()
            graph.settle(free, newest + 1, _GROWING)

    def reverse() -> None:
        mean = disps.mean(dim=(1, 2), keepdim=True)
        disps[:] = mean.square() / torch.maximum(disps, _FARTHEST * mean)
        graph.settle(free, count, _GROWING, depths=False)

    graph.settle(free, count, _SETTLING)
    for guess in (grow, reverse):
        best, misfit = (poses.clone(), disps.clone()), graph.misfit()
        guess()
        graph.settle(free, count, _SETTLING)
        if not graph.misfit() < misfit:
            poses[:], disps[:] = best
