"""Projection against points in space, its Jacobians against automatic differentiation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch

from compressed_slam import projection, se3
from compressed_slam.projection import (
    MIN_DEPTH_RATIO,
    back_project,
    frame_distance,
    induced_flow,
    linearise,
    pixel_grid,
    project,
)

if TYPE_CHECKING:
    from torch import Tensor

HEIGHT, WIDTH = 6, 8
INTRINSICS = torch.tensor([9.0, 10.0, 3.4, 2.7], dtype=torch.float64)
BASELINE = torch.tensor([-0.1, 0, 0, 0, 0, 0, 1], dtype=torch.float64)
IDENTITY = torch.tensor([0.0, 0, 0, 0, 0, 0, 1], dtype=torch.float64)


def scene(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Four cameras near each other, every pixel at a depth of its own."""
    generator = torch.Generator().manual_seed(seed)
    xi = 0.1 * torch.randn(4, 6, generator=generator, dtype=torch.float64)
    disps = 0.3 + torch.rand(4, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)
    return se3.exp(xi), disps


def shift(x: float, y: float, z: float) -> Tensor:
    """The pose of a camera that sees the world moved by so much."""
    return torch.tensor([x, y, z, 0, 0, 0, 1], dtype=torch.float64)


def test_projection_is_what_a_pinhole_camera_sees_of_the_points() -> None:
    poses, disps = scene()
    ii, jj = torch.tensor([0, 2, 3]), torch.tensor([1, 0, 3])
    coords, valid = project(poses, disps, INTRINSICS, ii, jj)
    in_world = se3.act(se3.inverse(poses[ii])[:, None, None], back_project(disps, INTRINSICS)[ii])
    points = se3.act(poses[jj][:, None, None], in_world)
    expected = INTRINSICS[:2] * points[..., :2] / points[..., 2:] + INTRINSICS[2:]
    assert valid.all()
    torch.testing.assert_close(coords, expected)
    torch.testing.assert_close(coords[2], pixel_grid(HEIGHT, WIDTH, dtype=torch.float64))


def test_an_edge_to_itself_goes_to_the_second_camera() -> None:
    poses, disps = scene()
    two = torch.tensor([2])
    flow, _ = induced_flow(poses, disps, INTRINSICS, two, two, baseline=BASELINE)
    torch.testing.assert_close(flow[0, ..., 0], -0.1 * INTRINSICS[0] * disps[2])
    torch.testing.assert_close(flow[0, ..., 1], torch.zeros_like(disps[2]))
    one = torch.tensor([1])
    with_baseline = project(poses, disps, INTRINSICS, two, one, baseline=BASELINE)[0]
    torch.testing.assert_close(with_baseline, project(poses, disps, INTRINSICS, two, one)[0])


def test_pixels_behind_or_too_near_the_other_camera_are_not_valid() -> None:
    disps = torch.full((2, HEIGHT, WIDTH), 0.5, dtype=torch.float64)
    disps[0, 0] = torch.tensor([0.1, 0.5, 1.0, 2.0, 4.0, 0.0, -1.0, 1.0])
    forward = 0.6
    poses = torch.stack([IDENTITY, shift(0, 0, -forward)])
    zero, one = torch.tensor([0]), torch.tensor([1])
    coords, valid = project(poses, disps, INTRINSICS, zero, one)
    expected = (1 - forward * disps[0] > MIN_DEPTH_RATIO) & (disps[0] > 0)
    assert torch.equal(valid[0], expected)
    assert expected[0].tolist() == [True, True, True, False, False, False, False, True]
    seen = linearise(poses, disps, INTRINSICS, zero, one)
    assert torch.equal(seen.valid, valid.flatten(1))
    assert coords.isfinite().all()
    assert seen.jacobian.isfinite().all()


def test_jacobians_are_those_of_automatic_differentiation() -> None:
    poses, disps = scene()
    poses = torch.cat([poses, se3.compose(shift(0, 0, -1.1), poses[:1])])  # some of it behind
    disps = torch.cat([disps, disps[:1]])
    edges = torch.tensor([(0, 1), (3, 2), (1, 0), (2, 2), (0, 4), (0, 1)])
    ii, jj = edges.T

    def coords(xi: Tensor, change: Tensor) -> Tensor:
        moved, deeper = se3.retract(poses, xi), disps + change
        return project(moved, deeper, INTRINSICS, ii, jj, baseline=BASELINE)[0]

    zeros = torch.zeros(5, 6, dtype=torch.float64), torch.zeros_like(disps)
    by_pose, by_disp = torch.autograd.functional.jacobian(coords, zeros, vectorize=True)
    seen = linearise(poses, disps, INTRINSICS, ii, jj, baseline=BASELINE)
    assert not seen.valid.all()
    assert seen.valid[:4].all()
    torch.testing.assert_close(seen.coords, coords(*zeros).flatten(1, 2).mT, rtol=1e-12, atol=1e-12)

    by_ends = torch.einsum("erdp,erc->epdc", seen.jacobian[:, :6], seen.chain)
    pixel = torch.arange(HEIGHT * WIDTH)
    for edge, (i, j) in enumerate(edges.tolist()):
        good = seen.valid[edge]
        expected = torch.zeros(HEIGHT * WIDTH, 2, 5, 6, dtype=torch.float64)
        expected[:, :, i] += by_ends[edge, ..., :6]
        expected[:, :, j] += by_ends[edge, ..., 6:]
        actual = by_pose[edge].flatten(0, 1)
        torch.testing.assert_close(expected[good], actual[good], rtol=1e-9, atol=1e-9)
        own = by_disp[edge].flatten(0, 1).flatten(3, 4)
        diagonal = own[pixel, :, :, pixel]
        torch.testing.assert_close(
            seen.jacobian[edge, 6].T[good], diagonal[good, :, i], rtol=1e-9, atol=1e-9
        )
        assert (own != 0).sum() <= 2 * HEIGHT * WIDTH  # no pixel moves with another's depth


def test_projection_follows_the_type_of_its_inputs() -> None:
    poses, disps = (of.float() for of in scene())
    ii, jj = torch.tensor([0, 1]), torch.tensor([1, 0])
    coords, _ = project(poses, disps, INTRINSICS.float(), ii, jj)
    exact, _ = project(*scene(), INTRINSICS, ii, jj)
    assert coords.dtype == torch.float32
    torch.testing.assert_close(coords.double(), exact, rtol=0, atol=1e-5)


def distance(
    poses: Tensor, disps: Tensor, *, beta: float, edges: tuple[tuple[int, int], ...] = ((0, 1),)
) -> list[float]:
    ii, jj = torch.tensor(edges).T
    found: list[float] = frame_distance(poses, disps, INTRINSICS, ii, jj, beta=beta).tolist()
    return found


def test_distance_of_a_sideways_step_before_a_wall_is_its_parallax() -> None:
    poses = torch.stack([IDENTITY, shift(0.2, 0, 0)])
    disps = torch.full((2, HEIGHT, WIDTH), 0.5, dtype=torch.float64)
    disps[1] = 0.7  # each direction has its own
    for beta in (0.0, 0.3, 1.0):
        assert distance(poses, disps, beta=beta) == pytest.approx([9 * 0.2 * (0.5 + 0.7) / 2])


def test_a_turn_counts_by_beta_and_translation_for_the_rest() -> None:
    turn = se3.exp(torch.tensor([0, 0, 0, 0.02, -0.05, 0.03], dtype=torch.float64))
    poses = torch.stack([IDENTITY, turn])
    disps = scene()[1]
    forth, back = (
        induced_flow(poses, disps, INTRINSICS, torch.tensor([i]), torch.tensor([1 - i]))[0]
        for i in (0, 1)
    )
    whole = (forth.norm(dim=-1).mean() + back.norm(dim=-1).mean()).item() / 2
    assert distance(poses, disps, beta=0.3) == pytest.approx([0.3 * whole])
    moved = torch.stack([IDENTITY, se3.compose(shift(0.3, -0.1, 0.2), turn)])
    parts = [distance(moved, disps, beta=beta)[0] for beta in (0.0, 0.25, 1.0)]
    assert parts[1] == pytest.approx(0.75 * parts[0] + 0.25 * parts[2])


def test_views_that_share_too_little_are_infinitely_far_both_ways() -> None:
    poses = torch.stack([IDENTITY, shift(0, 0, -0.9), se3.exp(BASELINE.new_tensor([0.0] * 6))])
    disps = torch.full((3, HEIGHT, WIDTH), 0.5, dtype=torch.float64)
    rows = HEIGHT // 4
    disps[0, :rows] = 1.0  # behind the second camera: under a quarter of the pixels
    assert math.isfinite(distance(poses, disps, beta=0.5)[0])
    disps[0, : rows + 1] = 1.0  # over a quarter; the way back is still clear
    assert (
        distance(poses, disps, beta=0.5, edges=((0, 1), (1, 0), (0, 2), (2, 1)))[:2]
        == [math.inf] * 2
    )


def test_many_pairs_at_once_give_what_each_gives_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    poses, disps = scene()
    edges = tuple((i, j) for i in range(4) for j in range(4))
    together = distance(poses, disps, beta=0.3, edges=edges)
    assert together == pytest.approx(
        [distance(poses, disps, beta=0.3, edges=(edge,))[0] for edge in edges]
    )
    assert together[1] == pytest.approx(together[4])
    assert together[0] == pytest.approx(0, abs=1e-12)
    monkeypatch.setattr(projection, "_CHUNK_PIXELS", 5 * HEIGHT * WIDTH)
    assert distance(poses, disps, beta=0.3, edges=edges) == together
