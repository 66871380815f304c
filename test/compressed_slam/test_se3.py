"""SE(3) against the matrix exponential, its group laws, and automatic differentiation."""

from __future__ import annotations

import math

import pytest
import torch

from compressed_slam import se3

ANGLES = (0.0, 1e-12, 1e-7, 5e-3, 0.0099, 0.0101, 0.09, 0.3, 2.0, math.pi - 1e-6)
"""Half a turn from below, and both sides of where the series end (an angle of .01)."""


def tangents(*, angle: float | None = None, count: int = 20, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    xi = torch.randn(count, 6, generator=generator, dtype=torch.float64)
    if angle is not None:
        xi[:, 3:] *= angle / xi[:, 3:].norm(dim=-1, keepdim=True)
    return xi


def poses(count: int = 20, seed: int = 0) -> torch.Tensor:
    return se3.exp(tangents(count=count, seed=seed))


def twist(xi: torch.Tensor) -> torch.Tensor:
    """The 4x4 matrix of the tangent, written out."""
    x, y, z, a, b, c = xi.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [[zero, -c, b, x], [c, zero, -a, y], [-b, a, zero, z], [zero] * 4]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-13) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


@pytest.mark.parametrize("angle", [*ANGLES, math.pi, 4.0, 2 * math.pi, 10.0])
def test_exp_is_the_matrix_exponential(angle: float) -> None:
    xi = tangents(angle=angle)
    close(se3.matrix(se3.exp(xi)), torch.matrix_exp(twist(xi)))


@pytest.mark.parametrize("angle", ANGLES)
def test_log_undoes_exp(angle: float) -> None:
    xi = tangents(angle=angle)
    pose = se3.exp(xi)
    # Near half a turn the axis is where the quaternion's rounding puts it.
    close(se3.log(pose), xi, 1e-9 if angle > 3 else 1e-13)
    other_sign = torch.cat([pose[..., :3], -pose[..., 3:]], dim=-1)
    close(se3.log(other_sign), se3.log(pose))


@pytest.mark.parametrize("angle", [math.pi, 4.0, 10.0])
def test_log_takes_the_short_way_round(angle: float) -> None:
    pose = se3.exp(tangents(angle=angle))
    logarithm = se3.log(pose)
    assert logarithm[:, 3:].norm(dim=-1).max() <= math.pi + 1e-12
    close(se3.matrix(se3.exp(logarithm)), se3.matrix(pose))


@pytest.mark.parametrize("angle", [0.0, 1e-6, 1e-3, 0.0099, 0.0101, 0.5, 3.0])
def test_single_precision_keeps_its_digits_at_every_angle(angle: float) -> None:
    xi = tangents(angle=angle)
    assert se3.exp(xi.float()).dtype == torch.float32
    close(se3.exp(xi.float()).double(), se3.exp(xi), 1e-6)
    close(se3.log(se3.exp(xi).float()).double(), xi, 1e-5)


def test_poses_compose_invert_and_act_like_their_matrices() -> None:
    a, b = poses(seed=1), poses(seed=2)
    close(se3.matrix(se3.compose(a, b)), se3.matrix(a) @ se3.matrix(b))
    close(se3.matrix(se3.inverse(a)), torch.linalg.inv(se3.matrix(a)))
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    homogeneous = torch.cat([points, torch.ones(20, 1)], dim=-1).unsqueeze(-1)
    close(se3.act(a, points), (se3.matrix(a) @ homogeneous)[:, :3, 0])


def test_leading_dimensions_broadcast() -> None:
    a, b = poses(4, seed=1)[:, None], poses(5, seed=2)
    both = se3.compose(a, b)
    assert both.shape == (4, 5, 7)
    close(both[2, 3], se3.compose(a[2, 0], b[3]))
    points = torch.ones(2, 6, 3, dtype=torch.float64)
    close(se3.act(b[1], points)[1, 4], se3.act(b[1], points[1, 4]))
    assert se3.exp(torch.zeros(0, 6)).shape == (0, 7)


def test_a_long_chain_stays_a_rotation() -> None:
    step = se3.exp(tangents(count=1)[0].float())
    pose = step
    for _ in range(2000):
        pose = se3.compose(step, pose)
    assert float(pose[3:].norm()) == pytest.approx(1, abs=1e-6)


def test_the_adjoint_carries_a_perturbation_across_a_pose() -> None:
    pose, xi = poses(seed=4), tangents(seed=5)
    carried = (se3.adjoint(pose) @ xi.unsqueeze(-1)).squeeze(-1)
    close(se3.matrix(se3.retract(pose, carried)), se3.matrix(se3.compose(pose, se3.exp(xi))))
    gradient = tangents(seed=6)
    expected = (se3.adjoint(pose).mT @ gradient.unsqueeze(-1)).squeeze(-1)
    close(se3.adjoint_transpose_apply(pose, gradient), expected)


def test_retract_perturbs_on_the_left_translation_first() -> None:
    pose = poses(1, seed=7)[0]
    moved = se3.retract(pose, torch.tensor([1.0, 2, 3, 0, 0, 0], dtype=torch.float64))
    close(moved[:3], pose[:3] + torch.tensor([1.0, 2, 3], dtype=torch.float64))
    close(moved[3:], pose[3:])
    turned = se3.retract(pose, torch.tensor([0, 0, 0, 0, 0, math.pi / 2], dtype=torch.float64))
    close(turned[:3], torch.stack([-pose[1], pose[0], pose[2]]))


@pytest.mark.parametrize("angle", [0.0, 1e-7, 0.0099, 0.0101, 1.0, 3.0])
def test_exp_and_log_can_be_differentiated_everywhere(angle: float) -> None:
    xi = tangents(angle=angle, count=3).requires_grad_()
    assert torch.autograd.gradcheck(se3.exp, xi, atol=1e-7)
    assert torch.autograd.gradcheck(lambda at: se3.log(se3.exp(at)), xi, atol=1e-6)


def test_at_the_identity_exp_and_log_change_nothing_to_first_order() -> None:
    zero = torch.zeros(6, dtype=torch.float64)
    through = torch.autograd.functional.jacobian(lambda xi: se3.log(se3.exp(xi)), zero)
    close(through, torch.eye(6, dtype=torch.float64))
