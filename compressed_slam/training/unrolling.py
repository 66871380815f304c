"""DROID-SLAM's loop as it learns: update operator and bundle adjustment in turns on an excerpt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from compressed_slam.bundle_adjustment import Edges
from compressed_slam.encoder import STRIDE
from compressed_slam.projection import pixel_grid, project
from compressed_slam.training.differentiable_adjustment import adjust
from compressed_slam.training.pair_network import correlated, looked_up
from compressed_slam.update_operator import upsample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from compressed_slam.training.pair_network import PairNetwork

_REACH = 2  # pictures between the two of an edge, at most


class Step(NamedTuple):
    """What one step makes of an excerpt of F pictures with E edges.

    Attributes:
        poses: (F, 7) world-to-camera.
        disps: (F, H, W) in the pictures' resolution.
        misfit: (E, h, w, 2) matches less where poses and depths put them, cells.
        weight: (E, h, w, 2) of the matches.
        valid: (E, h, w) bool, where poses and depths put them anywhere.
    """

    poses: Tensor
    disps: Tensor
    misfit: Tensor
    weight: Tensor
    valid: Tensor


def neighbours(frames: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Edges (E,), (E,) between pictures that are close in time, both ways, sources ascending."""
    order = torch.arange(frames, device=device)
    apart = (order[:, None] - order).abs()
    ii, jj = ((apart > 0) & (apart <= _REACH)).nonzero(as_tuple=True)
    return ii, jj


def unroll(
    network: PairNetwork,
    pictures: Tensor,
    poses: Tensor,
    intrinsics: Tensor,
    *,
    edges: tuple[Tensor, Tensor],
    free: Tensor,
) -> Iterator[Step]:
    """Yield what every step makes of poses and depths, from a disparity of 1 everywhere.

    As published, no gradient passes from one step's poses, depths and positions to the next step.

    Args:
        network: the networks, and how many steps they take.
        pictures: (F, 3, H, W) uint8 BGR.
        poses: (F, 7) to begin with.
        intrinsics: (4,) of the pictures.
        edges: ii and jj (E,); every picture is a source, sources ascending.
        free: (F,) bool, poses that are to be found.
    """
    ii, jj = edges
    droid = network.droid
    fmap, net, inp = droid.extract_features(pictures)
    net, inp = net[ii], inp[ii]
    volumes = correlated(fmap[ii], fmap[jj])
    height, width = fmap.shape[2:]
    grid = pixel_grid(height, width, device=fmap.device)
    disps = poses.new_ones(len(poses), height, width)
    cells = intrinsics / STRIDE
    target, _ = project(poses, disps, cells, ii, jj)
    for _ in range(network.iterations):
        coords, _ = project(poses, disps, cells, ii, jj)
        motion = torch.cat([coords - grid, target - coords], -1).permute(0, 3, 1, 2)
        net, delta, weight, eta, upmask = droid.update(
            net, inp, looked_up(volumes, coords), motion, ii
        )
        # The adjustment is ill-conditioned: always in single precision.
        with torch.autocast(fmap.device.type, enabled=False):
            delta, weight = (maps.float().permute(0, 2, 3, 1) for maps in (delta, weight))
            seen = Edges(ii, jj, coords + delta, weight)
            poses, disps = adjust(poses, disps, cells, seen, eta.float(), free=free)
            there, valid = project(poses, disps, cells, ii, jj)
            fine = upsample(disps, upmask.float())
        yield Step(poses, fine, seen.target - there, weight, valid)
        poses, disps, target = poses.detach(), disps.detach(), seen.target.detach()
