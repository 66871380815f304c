"""What one keyframe's pixels look like from another: projection, its Jacobians, flow, distance.

Maps are an eighth of the picture; pixels are theirs, the centre of the first at (0, 0). Depth is
inverse: `disps` (N, h, w), 1/m where the scale is known. An edge goes from frame i, whose pixels
and disparities are taken, to frame j, which sees them. An edge from a frame to itself goes to the
second camera of a stereo pair: its relative pose is the given `baseline` (7,), the pose that moves
points from the first camera to the second one's axes, the same for all frames.

A pixel is valid where its disparity is positive and, seen from frame j, its depth is more than
`MIN_DEPTH_RATIO` of what it is in frame i. Nothing else is asked of it: it may lie outside j's
picture. The threshold is a ratio because a single camera's scale is arbitrary. Where it is not
reached, coordinates are those of the point pushed out to the threshold: finite and on its side.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from compressed_slam import se3

MIN_DEPTH_RATIO = 0.2
MIN_OVERLAP = 0.75
"""Share of valid pixels under which two frames have no distance."""
_CHUNK_PIXELS = 1 << 15
"""Pixels of edges whose distance is taken at once: bounds the memory, and fits a cache."""


class Linearised(NamedTuple):
    """Edges' coordinates and how they change; pixels are flattened, P = h * w.

    Attributes:
        coords: (E, 2, P) x y in frame j.
        valid: (E, P) bool.
        jacobian: (E, 7, 2, P): derivative of x y by the six components of the edge's relative
            motion, then by the disparity.
        chain: (E, 6, 12): the relative motion that perturbations of pose i (first six columns)
            and of pose j (last six) make; all zero for a stereo edge, whose poses are one. So
            the derivative by both poses is the first six rows' transpose times `chain`.
    """

    coords: Tensor
    valid: Tensor
    jacobian: Tensor
    chain: Tensor


def pixel_grid(
    height: int,
    width: int,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """(h, w, 2) x y of every pixel."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=dtype, device=device),
        torch.arange(width, dtype=dtype, device=device),
        indexing="ij",
    )
    return torch.stack([x, y], dim=-1)


def _rays(intrinsics: Tensor, height: int, width: int) -> Tensor:
    """(3, P) directions of the pixels at depth 1."""
    grid = pixel_grid(height, width, dtype=intrinsics.dtype, device=intrinsics.device)
    plane = (grid - intrinsics[2:]) / intrinsics[:2]
    return torch.cat([plane, torch.ones_like(plane[..., :1])], dim=-1).reshape(-1, 3).T.contiguous()


def back_project(disps: Tensor, intrinsics: Tensor) -> Tensor:
    """Points (..., h, w, 3) in the camera's axes of pixels with inverse depth (..., h, w)."""
    height, width = disps.shape[-2:]
    rays = _rays(intrinsics, height, width).T.reshape(height, width, 3)
    return rays / disps.unsqueeze(-1)


def relative_poses(poses: Tensor, ii: Tensor, jj: Tensor, baseline: Tensor | None = None) -> Tensor:
    """(E, 7) poses of frames j seen from frames i; of stereo edges (i, i) the baseline."""
    relative = se3.compose(poses[jj], se3.inverse(poses[ii]))
    return relative if baseline is None else torch.where((ii == jj)[:, None], baseline, relative)


class _View(NamedTuple):
    """Pixels of edges seen from frame j, (E, P) each: x and y at depth 1, 1 / depth ratio."""

    x: Tensor
    y: Tensor
    nearness: Tensor
    valid: Tensor


def _view(points: Tensor, disps: Tensor) -> _View:
    """`points` (E, 3, P) in frame j's axes, of depth 1 in frame i; `disps` (E, P)."""
    ratio = points[:, 2]
    valid = (ratio > MIN_DEPTH_RATIO) & (disps > 0)
    nearness = 1 / ratio.clamp(min=MIN_DEPTH_RATIO)
    return _View(points[:, 0] * nearness, points[:, 1] * nearness, nearness, valid)


def _seen(relative: Tensor, disps: Tensor, rays: Tensor) -> _View:
    shift = relative[:, :3, None] * disps.unsqueeze(1)
    return _view(se3.rotation(relative) @ rays + shift, disps)


def project(
    poses: Tensor,
    disps: Tensor,
    intrinsics: Tensor,
    ii: Tensor,
    jj: Tensor,
    *,
    baseline: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Find the pixels of frames i in frames j.

    Returns:
        coords (E, h, w, 2) x y in frame j, valid (E, h, w) bool.
    """
    height, width = disps.shape[1:]
    relative = relative_poses(poses, ii, jj, baseline)
    seen = _seen(relative, disps[ii].flatten(1), _rays(intrinsics, height, width))
    coords = torch.stack([seen.x, seen.y], dim=-1) * intrinsics[:2] + intrinsics[2:]
    return coords.view(-1, height, width, 2), seen.valid.view(-1, height, width)


def induced_flow(
    poses: Tensor,
    disps: Tensor,
    intrinsics: Tensor,
    ii: Tensor,
    jj: Tensor,
    *,
    baseline: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The flow (E, h, w, 2) that motion and depth make, pixels, and where it is valid."""
    coords, valid = project(poses, disps, intrinsics, ii, jj, baseline=baseline)
    grid = pixel_grid(*disps.shape[1:], dtype=disps.dtype, device=disps.device)
    return coords - grid, valid


@torch.no_grad()
def linearise(
    poses: Tensor,
    disps: Tensor,
    intrinsics: Tensor,
    ii: Tensor,
    jj: Tensor,
    *,
    baseline: Tensor | None = None,
) -> Linearised:
    """Project as `project` does, with Jacobians, laid out for products over the pixels.

    A perturbation of the relative pose is what is differentiated by: that of pose j is the same,
    that of pose i is carried across by the relative pose's adjoint, with the sign turned.
    Jacobians are finite everywhere, and those of invalid pixels mean nothing.
    """
    fx, fy, cx, cy = intrinsics
    relative = relative_poses(poses, ii, jj, baseline)
    depths = disps[ii].flatten(1)
    x, y, nearness, valid = _seen(relative, depths, _rays(intrinsics, *disps.shape[1:]))
    shift_x, shift_y, shift_z = relative[:, :3].T.unsqueeze(-1)
    near_disp = nearness * depths
    u, v = fx * x, fy * y

    jacobian = x.new_empty((len(x), 7, 2, x.shape[1]))
    across, down = jacobian[:, :, 0], jacobian[:, :, 1]
    torch.mul(near_disp, fx, out=across[:, 0])
    across[:, 1] = 0
    torch.mul(u, near_disp, out=across[:, 2]).neg_()
    torch.mul(u, y, out=across[:, 3]).neg_()
    torch.addcmul(fx, u, x, out=across[:, 4])
    torch.mul(y, -fx, out=across[:, 5])
    torch.mul(fx * shift_x - u * shift_z, nearness, out=across[:, 6])
    down[:, 0] = 0
    torch.mul(near_disp, fy, out=down[:, 1])
    torch.mul(v, near_disp, out=down[:, 2]).neg_()
    torch.addcmul(fy, v, y, out=down[:, 3]).neg_()
    torch.mul(v, x, out=down[:, 4])
    torch.mul(x, fy, out=down[:, 5])
    torch.mul(fy * shift_y - v * shift_z, nearness, out=down[:, 6])

    by_j = torch.eye(6, dtype=poses.dtype, device=poses.device).expand(len(ii), 6, 6)
    chain = torch.cat([-se3.adjoint(relative), by_j], dim=-1) * (ii != jj)[:, None, None]
    return Linearised(torch.stack([u + cx, v + cy], dim=1), valid, jacobian, chain)


def _flow_length(seen: _View, rays: Tensor, intrinsics: Tensor) -> Tensor:
    u, v = intrinsics[0] * (seen.x - rays[0]), intrinsics[1] * (seen.y - rays[1])
    return torch.addcmul(u * u, v, v).sqrt()  # several times as fast as torch.hypot


def _distance_one_way(
    relative: Tensor, disps: Tensor, rays: Tensor, intrinsics: Tensor, beta: float
) -> Tensor:
    """(M,) mean length of the blended flow over the valid pixels; infinite where those are few."""
    whole = _seen(relative, disps, rays)
    moved = _view(rays + relative[:, :3, None] * disps.unsqueeze(1), disps)
    valid = whole.valid & moved.valid
    length = torch.lerp(
        _flow_length(moved, rays, intrinsics), _flow_length(whole, rays, intrinsics), beta
    )
    count = valid.sum(-1)
    mean = (length * valid).sum(-1) / count
    return torch.where(count >= MIN_OVERLAP * valid.shape[-1], mean, torch.inf)


@torch.no_grad()
def frame_distance(
    poses: Tensor, disps: Tensor, intrinsics: Tensor, ii: Tensor, jj: Tensor, *, beta: float
) -> Tensor:
    """How far apart the views of frames i and j are, (M,) pixels of flow.

    In each direction the mean over the pixels of `beta` times the length of the flow, plus
    1 - `beta` times the length of the flow that the translation alone would make; then the mean
    of both directions. Where under `MIN_OVERLAP` of the pixels are valid, either way, the distance
    is infinite: it compares like any other, and no mean makes a usable number of it.
    """
    rays = _rays(intrinsics, *disps.shape[1:])
    flat = disps.flatten(1)
    chunk = max(1, _CHUNK_PIXELS // rays.shape[1])
    distances = []
    for i, j in zip(torch.split(ii, chunk), torch.split(jj, chunk), strict=True):
        there, back = (
            _distance_one_way(relative_poses(poses, a, b), flat[a], rays, intrinsics, beta)
            for a, b in ((i, j), (j, i))
        )
        distances.append(0.5 * (there + back))
    return torch.cat(distances)
