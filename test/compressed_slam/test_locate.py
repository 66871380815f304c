"""One frame among known ones: its pose, and how sure that is."""

from __future__ import annotations

import pytest
import torch
from walls import disturbed, touching, wall

from compressed_slam import se3
from compressed_slam.bundle_adjustment import adjust, locate


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("inwards", "outwards"), [(True, False), (False, True), (True, True)])
def test_a_frame_is_located(dtype: torch.dtype, *, inwards: bool, outwards: bool) -> None:
    scene = wall().to(dtype)
    edges = touching(scene, 3, inwards=inwards, outwards=outwards)
    free = torch.arange(6) == 3
    poses, _ = disturbed(scene, free)
    found = locate(poses, scene.disps, scene.intrinsics, edges, 3, iterations=4)
    assert found.solved
    assert found.pose.dtype == found.covariance.dtype == dtype
    poses[3] = found.pose
    assert scene.pose_error(poses) < 1e-4


def test_locating_is_adjusting_one_pose() -> None:
    scene = wall()
    edges = touching(scene, 3, inwards=True, outwards=True)
    noise = torch.randn(edges.target.shape, generator=torch.Generator().manual_seed(4))
    edges = edges._replace(target=edges.target + noise)
    free = torch.arange(6) == 3
    poses, _ = disturbed(scene, free)
    found = locate(poses, scene.disps, scene.intrinsics, edges, 3, lm=0.1, ep=2.0)
    same = adjust(poses, scene.disps, scene.intrinsics, edges, None, free=free, lm=0.1, ep=2.0)
    torch.testing.assert_close(found.pose, same.poses[3], rtol=0, atol=1e-12)


def test_the_covariance_is_that_of_the_poses_found_from_noisy_flow() -> None:
    scene = wall(4, 8, 10, reach=1)
    edges = touching(scene, 2, inwards=True, outwards=True)
    generator = torch.Generator().manual_seed(5)
    weight = 0.1 + 0.9 * torch.rand(edges.target.shape, generator=generator, dtype=torch.float64)
    variance, trials = 0.3, 150
    errors, covariances, variances = [], [], []
    for _ in range(trials):
        noise = torch.randn(edges.target.shape, generator=generator, dtype=torch.float64)
        noisy = edges._replace(
            target=edges.target + noise * (variance / weight).sqrt(), weight=weight
        )
        found = locate(scene.poses, scene.disps, scene.intrinsics, noisy, 2)
        errors.append(se3.log(se3.compose(scene.poses[2], se3.inverse(found.pose))))
        covariances.append(found.covariance)
        variances.append(found.variance)
    assert float(torch.stack(variances).mean()) == pytest.approx(variance, rel=0.02)
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
    found = locate(scene.poses, scene.disps, scene.intrinsics, blind, 3)
    assert not found.solved
    assert torch.equal(found.pose, scene.poses[3])
    assert found.covariance.isinf().all()
