"""One frame among known ones: its pose, and how sure that is."""

from __future__ import annotations

import pytest
import torch
from walls import Scene, disturbed, touching, wall

from compressed_slam import se3
from compressed_slam.bundle_adjustment import Edges, adjust
from compressed_slam.location import Landmarks, Located
from compressed_slam.projection import project


def locate(scene: Scene, guess: torch.Tensor, edges: Edges, **settings: float) -> Located:
    """Locate the frame that all edges end at."""
    known = Landmarks(scene.poses[edges.ii], scene.disps[edges.ii], scene.intrinsics)
    return known.locate(guess, edges.target, edges.weight, **settings)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_frame_is_located(dtype: torch.dtype) -> None:
    scene = wall().to(dtype)
    edges = touching(scene, 3, inwards=True, outwards=False)
    free = torch.arange(6) == 3
    poses, _ = disturbed(scene, free)
    found = locate(scene, poses[3], edges, iterations=4)
    assert found.solved
    assert found.pose.dtype == found.covariance.dtype == dtype
    poses[3] = found.pose
    assert scene.pose_error(poses) < 1e-4


def test_locating_is_adjusting_one_pose() -> None:
    scene = wall()
    edges = touching(scene, 3, inwards=True, outwards=False)
    noise = torch.randn(edges.target.shape, generator=torch.Generator().manual_seed(4))
    edges = edges._replace(target=edges.target + noise)
    free = torch.arange(6) == 3
    poses, _ = disturbed(scene, free)
    found = locate(scene, poses[3], edges, lm=0.1, ep=2.0)
    same = adjust(poses, scene.disps, scene.intrinsics, edges, None, free=free, lm=0.1, ep=2.0)
    torch.testing.assert_close(found.pose, same.poses[3], rtol=0, atol=1e-12)


def test_pixels_are_seen_where_they_are_projected_to_and_the_unknown_say_nothing() -> None:
    scene = wall()
    edges = touching(scene, 3, inwards=True, outwards=False)
    behind = torch.tensor([0.0, 0, -9, 0, 0, 0, 1], dtype=torch.float64)
    for pose in (scene.poses[3], behind):
        poses = scene.poses.clone()
        poses[3] = pose
        known = Landmarks(scene.poses[edges.ii], scene.disps[edges.ii], scene.intrinsics)
        coords, _ = project(poses, scene.disps, scene.intrinsics, edges.ii, edges.jj)
        torch.testing.assert_close(known.seen_from(pose), coords, rtol=0, atol=1e-9)
    half = scene.disps.clone()
    half[:, :, ::2] = 0
    target = edges.target.clone()
    target[:, :, ::2] += 50  # of what has no depth
    poses, _ = disturbed(scene, torch.arange(6) == 3)
    found = locate(
        scene._replace(disps=half), poses[3], edges._replace(target=target), iterations=4
    )
    assert found.solved
    assert (found.pose - scene.poses[3]).abs().max() < 1e-4


def test_the_covariance_is_that_of_the_poses_found_from_noisy_flow() -> None:
    scene = wall(4, 8, 10, reach=1)
    edges = touching(scene, 2, inwards=True, outwards=False)
    generator = torch.Generator().manual_seed(5)
    weight = 0.1 + 0.9 * torch.rand(edges.target.shape, generator=generator, dtype=torch.float64)
    variance, trials = 0.3, 150
    errors, covariances, variances = [], [], []
    for _ in range(trials):
        noise = torch.randn(edges.target.shape, generator=generator, dtype=torch.float64)
        noisy = edges._replace(
            target=edges.target + noise * (variance / weight).sqrt(), weight=weight
        )
        found = locate(scene, scene.poses[2], noisy, ep=0.0)
        errors.append(se3.log(se3.compose(scene.poses[2], se3.inverse(found.pose))))
        covariances.append(found.covariance)
        variances.append(found.variance)
    assert float(sum(variances) / trials) == pytest.approx(variance, rel=0.02)
    inverse = torch.linalg.inv(torch.stack(covariances))
    error = torch.stack(errors)
    # Six degrees of freedom: a mean of 6 with a standard deviation of sqrt(12 / trials) = .28.
    squared = torch.einsum("ta,tab,tb->t", error, inverse, error)
    assert float(squared.mean()) == pytest.approx(6, abs=0.9)
    whitened = torch.einsum("tab,tb->ta", torch.linalg.cholesky(inverse).mT, error)
    assert (whitened.square().mean(0) - 1).abs().max() < 0.4  # each axis by itself


def test_a_frame_that_nothing_determines_is_not_located() -> None:
    scene = wall()
    edges = touching(scene, 3, inwards=True, outwards=False)
    blind = edges._replace(weight=torch.zeros_like(edges.weight))
    found = locate(scene, scene.poses[3], blind)
    assert not found.solved
    assert torch.equal(found.pose, scene.poses[3])
    assert found.covariance.isinf().all()
