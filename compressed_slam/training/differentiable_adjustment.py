"""Dense bundle adjustment that gradients pass through, for the few pictures of an excerpt.

It takes the steps of `compressed_slam.bundle_adjustment`, which is made for speed and large graphs
and gives no gradients. Here nothing is written in place, and every frame is a source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from compressed_slam import se3
from compressed_slam.bundle_adjustment import ETA, ETA_FLOOR, MIN_DISPARITY, WEIGHT
from compressed_slam.normal_equations import solve_damped
from compressed_slam.projection import MIN_DEPTH_RATIO, back_project, relative_poses

if TYPE_CHECKING:
    from torch import Tensor

    from compressed_slam.bundle_adjustment import Edges


class _System(NamedTuple):
    """Normal equations of F free poses and of the disparities of N frames of P pixels.

    Attributes:
        information: (6 F, 6 F) of the poses.
        gradient: (6 F,) of the poses.
        coupling: (N, 6 F, P) of poses with disparities.
        curvature: (N, P) of the disparities.
        pull: (N, P), the gradient of the disparities.
    """

    information: Tensor
    gradient: Tensor
    coupling: Tensor
    curvature: Tensor
    pull: Tensor


def adjust(
    poses: Tensor,
    disps: Tensor,
    intrinsics: Tensor,
    edges: Edges,
    eta: Tensor,
    *,
    free: Tensor,
    iterations: int = 2,
    lm: float = 1e-4,
    ep: float = 0.1,
) -> tuple[Tensor, Tensor]:
    """Do what `bundle_adjustment.adjust` does without measured depth and stereo.

    All N frames have edges; `eta` is (N, h, w). Where a step cannot be solved, it is left out.

    Returns:
        poses (N, 7), disps (N, h, w).
    """
    for _ in range(iterations):
        system = _linearised(poses, disps, intrinsics, edges, eta, free=free)
        # Schur complement (Teed & Deng 2021, eq. 5)
        explained = system.coupling / system.curvature[:, None]
        information = system.information - torch.einsum("kap,kbp->ab", explained, system.coupling)
        gradient = system.gradient - torch.einsum("kap,kp->a", explained, system.pull)
        step = solve_damped(information.double(), gradient.double(), lm, ep)
        if step is None:
            break
        step = step.to(poses.dtype)
        moved = se3.retract(poses[free], step.view(-1, 6))
        poses = poses.index_put((free,), moved)
        change = system.pull - torch.einsum("kap,a->kp", system.coupling, step)
        disps = disps + (change / system.curvature).view_as(disps)
        disps = disps.clamp(min=MIN_DISPARITY)
    return poses, disps


def _linearised(
    poses: Tensor, disps: Tensor, intrinsics: Tensor, edges: Edges, eta: Tensor, *, free: Tensor
) -> _System:
    ii, jj = edges.ii, edges.jj
    relative = relative_poses(poses, ii, jj)
    coords, valid, jacobian = _derivatives(relative, disps[ii], intrinsics)
    residual = (edges.target.flatten(1, 2) - coords).flatten(1)
    weight = (WEIGHT * edges.weight.flatten(1, 2) * valid[..., None]).flatten(1)
    by_motion, by_disp = jacobian[:, :6], jacobian[:, 6]
    weighted = weight[:, None] * by_motion

    # How each edge's relative motion follows from the free poses.
    chosen = torch.eye(len(poses), dtype=poses.dtype, device=poses.device)[:, free]
    axes = torch.eye(6, dtype=poses.dtype, device=poses.device)
    by_pose = torch.einsum("exy,ef->exfy", -se3.adjoint(relative), chosen[ii])
    by_pose = (by_pose + torch.einsum("xy,ef->exfy", axes, chosen[jj])).flatten(2)

    def at_frames(of_edges: Tensor) -> Tensor:
        return of_edges.new_zeros(len(poses), *of_edges.shape[1:]).index_add(0, ii, of_edges)

    def over_axes(products: Tensor) -> Tensor:
        return products.view(*products.shape[:-1], -1, 2).sum(-1)

    return _System(
        (by_pose.mT @ (weighted @ by_motion.mT) @ by_pose).sum(0),
        (by_pose.mT @ (weighted @ residual[..., None])).sum(0)[:, 0],
        at_frames(by_pose.mT @ over_axes(weighted * by_disp[:, None])),
        ETA * eta.flatten(1) + ETA_FLOOR + at_frames(over_axes(weight * by_disp.square())),
        at_frames(over_axes(weight * by_disp * residual)),
    )


def _derivatives(
    relative: Tensor, disps: Tensor, intrinsics: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Project E frames' pixels with relative poses (E, 7) and disparities (E, h, w).

    Returns:
        coords (E, P, 2), valid (E, P), and the derivative (E, 7, 2 P) of the coordinates by the six
        components of the relative motion and by the disparity. Of pixels that are not valid, which
        have no weight, the derivatives mean nothing.
    """
    focal, centre = intrinsics[:2], intrinsics[2:]
    rays = back_project(torch.ones_like(disps[0]), intrinsics).flatten(0, 1)
    disp = disps.flatten(1)[..., None]
    shift = relative[:, None, :3]
    points = rays @ se3.rotation(relative).mT + shift * disp  # of depth 1 before they are moved
    ratio = points[..., 2:]
    nearness = 1 / ratio.clamp(min=MIN_DEPTH_RATIO)
    plane = points[..., :2] * nearness
    valid = ((ratio > MIN_DEPTH_RATIO) & (disp > 0))[..., 0]

    axes = torch.eye(3, dtype=disps.dtype, device=disps.device)
    by_shift = disp[..., None] * axes
    by_turn = -se3.hat(points)
    by_disp = shift[..., None].expand(*points.shape, 1)
    moves = torch.cat([by_shift, by_turn, by_disp], -1)  # (E, P, 3, 7)
    slides = moves[..., :2, :] - plane[..., None] * moves[..., 2:, :]
    jacobian = (focal * nearness)[..., None] * slides
    return focal * plane + centre, valid, jacobian.flatten(1, 2).mT
