"""Cameras that go by a wall: scenes with known poses and depths for the adjustment's tests."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from compressed_slam import se3
from compressed_slam.bundle_adjustment import Edges
from compressed_slam.projection import pixel_grid, project

BASELINE = torch.tensor([-0.12, 0, 0, 0, 0, 0, 1], dtype=torch.float64)


class Scene(NamedTuple):
    """Cameras that went by a bumpy wall, and what each saw of the others."""

    poses: Tensor
    disps: Tensor
    intrinsics: Tensor
    edges: Edges
    eta: Tensor

    def to(self, dtype: torch.dtype) -> Scene:
        maps = (of.to(dtype) for of in (self.poses, self.disps, self.intrinsics))
        ii, jj, target, weight = self.edges
        return Scene(*maps, Edges(ii, jj, target.to(dtype), weight.to(dtype)), self.eta.to(dtype))

    def pose_error(self, poses: Tensor) -> float:
        """Largest component of the poses' tangents from the truth, metres or radians."""
        return float(se3.log(se3.compose(poses, se3.inverse(self.poses))).abs().max())

    def disp_error(self, disps: Tensor) -> float:
        return float((disps - self.disps).abs().max())


def wall(
    count: int = 6, height: int = 15, width: int = 20, reach: int = 2, *, stereo: bool = False
) -> Scene:
    """Every camera sees those up to `reach` steps away."""
    time = torch.arange(count, dtype=torch.float64)
    columns = (0.15 * time, 0.05 * time.sin(), 0.1 * (time / 2).sin())
    turns = (0.02 * (2 * time).sin(), 0.04 * time.sin(), 0.02 * time)
    poses = se3.exp(torch.stack([*columns, *turns], dim=-1))
    x, y = pixel_grid(height, width, dtype=torch.float64).unbind(-1)
    disps = 0.6 + 0.25 * (x / 4 + time[:, None, None]).sin() * (y / 3).cos()
    intrinsics = torch.tensor([0.9 * width, 0.9 * width, width / 2, height / 2]).double()
    pairs = [
        (i, j)
        for i in range(count)
        for j in range(count)
        if (i != j or stereo) and abs(i - j) <= reach
    ]
    ii, jj = torch.tensor(pairs).T
    target, valid = project(poses, disps, intrinsics, ii, jj, baseline=BASELINE)
    assert valid.all()
    eta = torch.full((count, height, width), 1e-4, dtype=torch.float64)
    return Scene(poses, disps, intrinsics, Edges(ii, jj, target, torch.ones_like(target)), eta)


def disturbed(scene: Scene, free: Tensor, *, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Poses off by centimetres and degrees, disparities by up to 15 %, all at a wrong scale."""
    generator = torch.Generator().manual_seed(0)
    xi = 0.03 * torch.randn(len(scene.poses), 6, generator=generator, dtype=torch.float64)
    poses = se3.retract(scene.poses, xi.to(scene.poses.dtype))
    poses[:, :3] *= scale
    poses[~free] = scene.poses[~free]
    noise = torch.rand(scene.disps.shape, generator=generator, dtype=torch.float64) - 0.5
    return poses, scene.disps * (1 + 0.3 * noise.to(scene.disps.dtype)) / scale


def all_but(first: int, scene: Scene) -> Tensor:
    return torch.arange(len(scene.poses)) >= first


def touching(scene: Scene, frame: int, *, inwards: bool, outwards: bool) -> Edges:
    ii, jj = scene.edges.ii, scene.edges.jj
    chosen = ((jj == frame) & inwards) | ((ii == frame) & outwards)
    return Edges(*(rows[chosen] for rows in scene.edges))
