"""SE(3): rigid motions and their tangent space.

A pose is `(..., 7)`: `[tx ty tz qx qy qz qw]`, the quaternion of unit length, q and -q being the
same rotation; it moves a point p to R p + t. A camera's pose is world-to-camera. A tangent vector
is `(..., 6)`: `[translation, rotation]`, metres and radians. Perturbations stand on the left:
`retract(pose, xi)` = exp(xi) o pose, so those of a camera's pose are in the camera's axes.

Every function broadcasts over the leading dimensions, follows its inputs' dtype and device, and can
be differentiated, at the identity too. Angles are accurate from zero to half a turn; `log` returns
rotations of at most half a turn.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SMALL_SQUARED = 1e-4
"""Squared angle under which three terms of the series are exact even in float64."""


def identity(device: torch.device | str = "cpu") -> Tensor:
    """The pose (7,) that moves nothing, float32."""
    return torch.tensor([0.0, 0, 0, 0, 0, 0, 1], device=device)


def _cross(a: Tensor, b: Tensor, dim: int = -1) -> Tensor:
    """The cross product, broadcasting over all other dimensions."""
    a, b = torch.broadcast_tensors(a, b)  # type: ignore[no-untyped-call]
    product: Tensor = torch.linalg.cross(a, b, dim=dim)
    return product


def hat(vector: Tensor) -> Tensor:
    """The matrix (..., 3, 3) that multiplies a point like the cross product: v x p."""
    axes = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return _cross(vector.unsqueeze(-1), axes, -2)


def rotation(pose: Tensor) -> Tensor:
    """The (..., 3, 3) rotation matrix of a pose."""
    cross = hat(pose[..., 3:6])
    axes = torch.eye(3, dtype=pose.dtype, device=pose.device)
    return axes + 2 * (pose[..., 6, None, None] * cross + cross @ cross)


def matrix(pose: Tensor) -> Tensor:
    """The homogeneous (..., 4, 4) matrix of a pose."""
    top = torch.cat([rotation(pose), pose[..., :3, None]], dim=-1)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], dim=-2)


def _rotate(quaternion: Tensor, point: Tensor) -> Tensor:
    axis, real = quaternion[..., :3], quaternion[..., 3:]
    turned = 2 * _cross(axis, point)
    return point + real * turned + _cross(axis, turned)


def _conjugate(quaternion: Tensor) -> Tensor:
    return quaternion * quaternion.new_tensor([-1.0, -1.0, -1.0, 1.0])


def act(pose: Tensor, points: Tensor) -> Tensor:
    """Move points (..., 3): R p + t."""
    return _rotate(pose[..., 3:], points) + pose[..., :3]


def compose(a: Tensor, b: Tensor) -> Tensor:
    """The motion b followed by a; its quaternion is normalised, so that chains do not drift."""
    axis_a, real_a = a[..., 3:6], a[..., 6:]
    axis_b, real_b = b[..., 3:6], b[..., 6:]
    axis = real_a * axis_b + real_b * axis_a + _cross(axis_a, axis_b)
    real = real_a * real_b - (axis_a * axis_b).sum(-1, keepdim=True)
    quaternion = torch.nn.functional.normalize(torch.cat([axis, real], dim=-1), dim=-1)
    return torch.cat([act(a, b[..., :3]), quaternion], dim=-1)


def inverse(a: Tensor) -> Tensor:
    """The motion back."""
    back = _conjugate(a[..., 3:])
    return torch.cat([-_rotate(back, a[..., :3]), back], dim=-1)


def exp(xi: Tensor) -> Tensor:
    """The pose (..., 7) of a tangent vector (..., 6): exp of its 4x4 twist matrix."""
    translation, turn = xi[..., :3], xi[..., 3:]
    squared = (turn * turn).sum(-1, keepdim=True)
    small = squared < _SMALL_SQUARED
    angle = torch.where(small, 1.0, squared).sqrt()  # no root of 0, whose gradient is infinite
    half = torch.where(
        small, 0.5 - squared / 48 + squared**2 / 3840, torch.sin(0.5 * angle) / angle
    )
    # 1 - cos of the angle is twice the squared sine of its half: nothing cancels.
    first = 2 * half**2
    second = torch.where(
        small, 1 / 6 - squared / 120 + squared**2 / 5040, (angle - torch.sin(angle)) / angle**3
    )
    moved = _cross(turn, translation)
    translation = translation + first * moved + second * _cross(turn, moved)
    real = torch.where(small, 1 - squared / 8 + squared**2 / 384, torch.cos(0.5 * angle))
    return torch.cat([translation, half * turn, real], dim=-1)


def log(pose: Tensor) -> Tensor:
    """The tangent vector (..., 6) of a pose, its rotation at most half a turn long."""
    translation, quaternion = pose[..., :3], pose[..., 3:]
    quaternion = torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)
    axis, real = quaternion[..., :3], quaternion[..., 3:]
    squared = (axis * axis).sum(-1, keepdim=True)
    small = squared < _SMALL_SQUARED
    sine = torch.where(small, 1.0, squared).sqrt()
    angle = 2 * torch.atan2(sine, real)
    ratio = squared / real.clamp(min=0.5) ** 2
    stretch = torch.where(
        small, (2 - 2 * ratio / 3 + 2 * ratio**2 / 5) / real.clamp(min=0.5), angle / sine
    )
    turn = stretch * axis
    length = (turn * turn).sum(-1, keepdim=True)
    second = torch.where(
        small,
        1 / 12 + length / 720 + length**2 / 30240,
        (1 - 0.5 * angle * real / sine) / torch.where(small, 1.0, length),
    )
    moved = _cross(turn, translation)
    translation = translation - 0.5 * moved + second * _cross(turn, moved)
    return torch.cat([translation, turn], dim=-1)


def retract(pose: Tensor, xi: Tensor) -> Tensor:
    """Perturb a pose on the left: exp(xi) o pose."""
    return compose(exp(xi), pose)


def adjoint(pose: Tensor) -> Tensor:
    """The (..., 6, 6) matrix that carries tangents across: pose o exp(xi) = exp(Ad xi) o pose."""
    turned = rotation(pose)
    upper = torch.cat([turned, hat(pose[..., :3]) @ turned], dim=-1)
    lower = torch.cat([torch.zeros_like(turned), turned], dim=-1)
    return torch.cat([upper, lower], dim=-2)


def adjoint_transpose_apply(pose: Tensor, gradient: Tensor) -> Tensor:
    """Ad^T times a gradient (..., 6): what it is with respect to the tangent before the pose."""
    back = _conjugate(pose[..., 3:])
    along, about = gradient[..., :3], gradient[..., 3:]
    about = about - _cross(pose[..., :3], along)
    return torch.cat([_rotate(back, along), _rotate(back, about)], dim=-1)
