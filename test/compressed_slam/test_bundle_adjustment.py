"""Dense bundle adjustment: a dense solver's step, known scenes, refusals, covariance."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from walls import BASELINE, Scene, all_but, disturbed, touching, wall

from compressed_slam import bundle_adjustment, se3
from compressed_slam.bundle_adjustment import MIN_DISPARITY, Edges, adjust
from compressed_slam.location import Landmarks
from compressed_slam.projection import pixel_grid, project

# One step against a dense solver that knows nothing of the structure.


def dense_step(
    scene: Scene,
    poses: Tensor,
    disps: Tensor,
    free: Tensor,
    *,
    lm: float,
    ep: float,
    measured: Tensor | None = None,
    depth_weight: float = 0.05,
    baseline: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The documented step with derivatives by autograd and all unknowns in one matrix."""
    ii, jj, target, weight = scene.edges

    def seen(xi: Tensor, change: Tensor) -> Tensor:
        moved = se3.retract(poses, xi)
        return project(moved, disps + change, scene.intrinsics, ii, jj, baseline=baseline)[0]

    count, pixels = len(poses), disps[0].numel()
    zeros = poses.new_zeros(count, 6), torch.zeros_like(disps)
    by_pose, by_disp = torch.autograd.functional.jacobian(seen, zeros, vectorize=True)
    free_columns = free.repeat_interleave(6)
    jacobian = torch.cat(
        [
            by_pose.reshape(-1, 6 * count)[:, free_columns],
            by_disp.reshape(-1, count * pixels),
        ],
        dim=1,
    )
    valid = project(poses, disps, scene.intrinsics, ii, jj, baseline=baseline)[1]
    weights = (1e-3 * weight * valid.unsqueeze(-1)).flatten()
    information = jacobian.T @ (weights[:, None] * jacobian)
    gradient = jacobian.T @ (weights * (target - seen(*zeros)).flatten())
    size = int(free_columns.sum())
    sources = torch.unique(ii)
    curvature = torch.ones_like(disps)  # others have no edge, and stay whatever it is
    curvature[sources] = 0.2 * scene.eta + 1e-7
    pull = torch.zeros_like(disps)
    if measured is not None:
        known = measured > 0
        curvature[known] = depth_weight
        pull[known] = depth_weight * (measured - disps)[known]
    mine = torch.zeros_like(disps)
    mine[sources] = 1
    information[size:, size:] += curvature.flatten().diag()
    gradient[size:] += (pull * mine).flatten()
    cross, inverse = information[:size, size:], torch.linalg.inv(information[size:, size:])
    reduced = information[:size, :size] - cross @ inverse @ cross.T
    reduced += torch.diag(lm * reduced.diagonal() + ep)
    step = torch.linalg.solve(reduced, gradient[:size] - cross @ inverse @ gradient[size:])
    change = inverse @ (gradient[size:] - cross.T @ step)
    xi = poses.new_zeros(count, 6)
    xi[free] = step.view(-1, 6)
    return se3.retract(poses, xi), (disps + change.view_as(disps)).clamp(min=MIN_DISPARITY)


@pytest.mark.parametrize("kind", ["mono", "depth", "stereo"])
def test_a_step_is_that_of_the_dense_normal_equations(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(1)
    whole = wall(5, 4, 5, stereo=kind == "stereo")
    # In no order, some twice, frame 3 never a source; weights of all sizes, also none.
    order = torch.randperm(len(whole.edges.ii), generator=generator).repeat(2)
    order = order[whole.edges.ii[order] != 3][:-4]
    edges = Edges(*(rows[order] for rows in whole.edges))
    noise = torch.randn(edges.target.shape, generator=generator, dtype=torch.float64)
    weight = torch.rand(edges.target.shape, generator=generator, dtype=torch.float64)
    edges = edges._replace(target=edges.target + noise, weight=weight * (weight > 0.2))
    eta = 0.01 * torch.rand(4, 4, 5, generator=generator, dtype=torch.float64)
    scene = whole._replace(edges=edges, eta=eta)
    free = torch.tensor([False, True, True, True, True])
    poses, disps = disturbed(scene, free)
    poses[4, 2] -= 0.9  # some of what the others see is behind it now
    assert not project(poses, disps, scene.intrinsics, edges.ii, edges.jj)[1].all()
    measured = None
    if kind == "depth":
        measured = scene.disps * (torch.rand(disps.shape, generator=generator) > 0.5)
    settings = {"lm": 0.01, "ep": 0.02, "measured": measured, "depth_weight": 0.03}
    baseline = BASELINE if kind == "stereo" else None
    expected = dense_step(scene, poses, disps, free, baseline=baseline, **settings)
    for chunk in (1 << 15, 1):
        monkeypatch.setattr(bundle_adjustment, "_CHUNK_PIXELS", chunk)
        found = adjust(
            poses,
            disps,
            scene.intrinsics,
            edges,
            eta,
            free=free,
            iterations=1,
            baseline=baseline,
            **settings,
        )
        assert found.solved
        torch.testing.assert_close(found.poses, expected[0], rtol=0, atol=1e-9)
        torch.testing.assert_close(found.disps, expected[1], rtol=0, atol=1e-9)
        assert torch.equal(found.poses[0], poses[0])
        assert torch.equal(found.disps[3], disps[3])


# Recovery of what is known.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mono_recovers_poses_and_depth_with_two_poses_known(dtype: torch.dtype) -> None:
    scene = wall().to(dtype)
    free = all_but(2, scene)
    poses, disps = disturbed(scene, free)
    found = adjust(
        poses, disps, scene.intrinsics, scene.edges, scene.eta, free=free, iterations=12, ep=1e-3
    )
    assert found.solved
    assert found.poses.dtype == found.disps.dtype == dtype
    assert scene.pose_error(found.poses) < 1e-4
    assert scene.disp_error(found.disps) < 1e-4


def test_mono_recovers_all_but_the_scale_with_one_pose_known() -> None:
    scene = wall()
    free = all_but(1, scene)
    poses, disps = disturbed(scene, free, scale=1.3)
    found = adjust(
        poses, disps, scene.intrinsics, scene.edges, scene.eta, free=free, iterations=15, ep=1e-3
    )
    scale = float((scene.disps / found.disps).mean())
    assert 1.1 < scale < 1.5  # as guessed, not as it is
    found.poses[:, :3] /= scale
    assert scene.pose_error(found.poses) < 1e-4
    assert scene.disp_error(found.disps * scale) < 1e-4


def test_measured_depth_settles_the_scale_where_it_is_known_for_some_pixels() -> None:
    scene = wall()
    free = all_but(1, scene)
    poses, disps = disturbed(scene, free, scale=1.2)
    known = torch.rand(disps.shape, generator=torch.Generator().manual_seed(2)) < 0.5
    found = adjust(
        poses,
        disps,
        scene.intrinsics,
        scene.edges,
        scene.eta,
        free=free,
        iterations=15,
        ep=1e-3,
        measured=scene.disps * known,
    )
    assert scene.pose_error(found.poses) < 1e-4
    assert scene.disp_error(found.disps) < 1e-4


@pytest.mark.parametrize("sensor_noise", [0.01, 0.1])
def test_the_weight_of_measured_depth_is_told_by_how_far_it_is_from_the_matches(
    sensor_noise: float,
) -> None:
    flow_noise = 0.1
    scene, generator = wall(8, 20, 30), torch.Generator().manual_seed(0)
    ii, jj, target, weight = scene.edges
    off = torch.randn(target.shape, generator=generator, dtype=torch.float64)
    edges = Edges(ii, jj, target + flow_noise * off, weight)
    off = torch.randn(scene.disps.shape, generator=generator, dtype=torch.float64)
    measured = (scene.disps + sensor_noise * off).clamp(min=0.01)
    poses, disps, asked = scene.poses, measured, 0.05
    for _ in range(10):
        poses, disps, _, asked = adjust(
            poses,
            disps,
            scene.intrinsics,
            edges,
            scene.eta,
            free=all_but(1, scene),
            measured=measured,
            depth_weight=asked,
            weigh_depth=True,
        )
    assert asked == pytest.approx(1e-3 * (flow_noise / sensor_noise) ** 2, rel=0.3)


def test_an_adjustment_that_cannot_tell_how_measured_depth_weighs_says_so() -> None:
    scene = wall(8, 20, 30)
    free, nothing = all_but(1, scene), torch.zeros_like(scene.disps)
    unsolvable = scene.edges._replace(target=torch.full_like(scene.edges.target, torch.nan))
    for edges, eta, measured in (
        (unsolvable, scene.eta, scene.disps),
        (scene.edges, None, scene.disps),
        (scene.edges, scene.eta, nothing),
    ):
        found = adjust(
            scene.poses,
            scene.disps,
            scene.intrinsics,
            edges,
            eta,
            free=free,
            measured=measured,
            weigh_depth=True,
        )
        assert found.depth_weight is None


def test_a_stereo_baseline_settles_the_scale() -> None:
    scene = wall(stereo=True)
    free = all_but(1, scene)
    poses, disps = disturbed(scene, free, scale=1.2)
    found = adjust(
        poses,
        disps,
        scene.intrinsics,
        scene.edges,
        scene.eta,
        free=free,
        iterations=15,
        ep=1e-3,
        baseline=BASELINE,
    )
    assert scene.pose_error(found.poses) < 1e-4
    assert scene.disp_error(found.disps) < 1e-4


def test_without_eta_only_poses_move() -> None:
    scene = wall()
    free = torch.tensor([True, False, True, True, False, True])
    poses, _ = disturbed(scene, free)
    found = adjust(poses, scene.disps, scene.intrinsics, scene.edges, None, free=free, iterations=6)
    assert torch.equal(found.disps, scene.disps)
    assert torch.equal(found.poses[~free], poses[~free])
    assert scene.pose_error(found.poses) < 1e-4


def test_with_all_poses_fixed_depth_alone_is_recovered() -> None:
    scene = wall()
    free = torch.zeros(6, dtype=torch.bool)
    _, disps = disturbed(scene, free)
    found = adjust(
        scene.poses, disps, scene.intrinsics, scene.edges, scene.eta, free=free, iterations=6
    )
    assert torch.equal(found.poses, scene.poses)
    assert scene.disp_error(found.disps) < 1e-4


def test_gross_outliers_at_low_weight_hardly_matter() -> None:
    scene = wall()
    generator = torch.Generator().manual_seed(3)
    ii, jj, target, weight = scene.edges
    wrong = torch.rand(target.shape[:3], generator=generator) < 0.1
    away = 20 * torch.rand(target.shape, generator=generator, dtype=torch.float64) - 10
    target = target + away * wrong.unsqueeze(-1)
    weight = torch.where(wrong.unsqueeze(-1), 1e-3, weight)
    free = all_but(2, scene)
    poses, disps = disturbed(scene, free)
    edges = Edges(ii, jj, target, weight)
    found = adjust(
        poses, disps, scene.intrinsics, edges, scene.eta, free=free, iterations=12, ep=1e-3
    )
    path = scene.poses[:, :3].diff(dim=0).norm(dim=-1).sum()
    assert scene.pose_error(found.poses) < 0.01 * path
    assert ((found.disps - scene.disps).abs() / scene.disps).mean() < 0.01
    trusted = adjust(
        poses,
        disps,
        scene.intrinsics,
        edges._replace(weight=torch.ones_like(weight)),
        scene.eta,
        free=free,
        iterations=12,
        ep=1e-3,
    )
    assert ((trusted.disps - scene.disps).abs() / scene.disps).mean() > 0.1


# Edges of the domain.


def test_disparities_stay_positive() -> None:
    scene = wall()
    ii, jj, target, weight = scene.edges
    inside_out = 2 * pixel_grid(15, 20, dtype=torch.float64) - target
    edges = Edges(ii, jj, inside_out, weight)
    fixed = torch.zeros(6, dtype=torch.bool)
    found = adjust(scene.poses, scene.disps, scene.intrinsics, edges, scene.eta, free=fixed)
    assert found.solved
    assert float(found.disps.min()) == MIN_DISPARITY


def test_no_edges_change_nothing() -> None:
    scene = wall()
    edges = Edges(*(rows[:0] for rows in scene.edges))
    free = all_but(1, scene)
    found = adjust(scene.poses, scene.disps, scene.intrinsics, edges, scene.eta[:0], free=free)
    assert found.solved
    assert scene.pose_error(found.poses) < 1e-12
    assert torch.equal(found.disps, scene.disps)


@pytest.mark.parametrize(
    ("wrong", "moves"),
    [
        *itertools.product(
            ("nan target", "infinite target", "infinite weight"), ("poses", "depth", "both")
        ),
        ("negative weight", "poses"),
        ("negative weight", "both"),
    ],
)
def test_what_cannot_be_solved_leaves_the_state(wrong: str, moves: str) -> None:
    scene = wall()
    target, weight = scene.edges.target.clone(), scene.edges.weight.clone()
    if wrong.endswith("target"):
        target[3, 4, 5, 0] = math.nan if wrong == "nan target" else math.inf
    elif wrong == "infinite weight":
        weight[3, 4, 5, 0] = math.inf
    else:
        weight.neg_()
    edges = scene.edges._replace(target=target, weight=weight)
    free = all_but(6 if moves == "depth" else 1, scene)
    poses, disps = disturbed(scene, free)
    eta = None if moves == "poses" else scene.eta
    found = adjust(poses, disps, scene.intrinsics, edges, eta, free=free)
    assert not found.solved
    assert torch.equal(found.poses, poses)
    assert torch.equal(found.disps, disps)
    frame = int(edges.jj[3])
    into = Edges(*(of[edges.jj == frame] for of in edges))
    known = Landmarks(poses[into.ii], disps[into.ii], scene.intrinsics)
    located = known.locate(poses[frame], into.target, into.weight)
    assert not located.solved
    assert torch.equal(located.pose, poses[frame])


def test_a_later_step_that_fails_takes_the_earlier_ones_back() -> None:
    disps = torch.full((2, 6, 8), 0.5, dtype=torch.float64)
    poses = torch.tensor([[0, 0, 0, 0, 0, 0, 1.0]] * 2, dtype=torch.float64)
    intrinsics = torch.tensor([8.0, 8, 3.5, 2.5], dtype=torch.float64)
    # Pixels ten times as far from the centre: the first step goes through the wall.
    target = 10 * (pixel_grid(6, 8, dtype=torch.float64) - intrinsics[2:]) + intrinsics[2:]
    edges = Edges(
        torch.tensor([0]), torch.tensor([1]), target[None], torch.ones(1, 6, 8, 2).double()
    )
    free = torch.tensor([False, True])
    settings = {"free": free, "lm": 0.0, "ep": 0.0}
    once = adjust(poses, disps, intrinsics, edges, None, iterations=1, **settings)
    assert once.solved
    assert float(once.poses[1, 2]) < -2
    twice = adjust(poses, disps, intrinsics, edges, None, iterations=2, **settings)
    assert not twice.solved
    assert torch.equal(twice.poses, poses)


def test_inputs_are_not_written_to() -> None:
    scene = wall()
    free = all_but(1, scene)
    poses, disps = disturbed(scene, free)
    given = (poses, disps, scene.intrinsics, *scene.edges, scene.eta, free)
    before = [of.clone() for of in given]
    adjust(poses, disps, scene.intrinsics, scene.edges, scene.eta, free=free, measured=disps)
    assert all(torch.equal(now, then) for now, then in zip(given, before, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_agrees_with_the_processor() -> None:
    scene = wall(stereo=True)
    free = all_but(1, scene)
    poses, disps = disturbed(scene, free)
    into = touching(scene, 3, inwards=True, outwards=False)
    found = []
    for device in ("cpu", "cuda"):
        ours = [of.to(device) for of in (poses, disps, scene.intrinsics)]
        edges = Edges(*(of.to(device) for of in scene.edges))
        adjusted = adjust(
            *ours,
            edges,
            scene.eta.to(device),
            free=free.to(device),
            measured=disps.to(device),
            baseline=BASELINE.to(device),
        )
        assert adjusted.solved
        known = Landmarks(ours[0][into.ii], ours[1][into.ii], ours[2])
        located = known.locate(ours[0][3], into.target.to(device), into.weight.to(device))
        found.append([adjusted.poses, adjusted.disps, located.pose, located.covariance])
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(here, there.cpu(), rtol=1e-9, atol=1e-9)
