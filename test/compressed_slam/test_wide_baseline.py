"""Pictures far apart: located by features, where matching around a guess finds nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's customary name

pytest.importorskip("numba", reason="numba comes with the extra [slam]")

from recordings import CAMERA, Drive, walk

from compressed_slam import se3
from compressed_slam.estimate import Health
from compressed_slam.feature_matching import mutual_nearest
from compressed_slam.frame import map_intrinsics
from compressed_slam.location import Landmarks
from compressed_slam.matching import Correspondences, Refinement
from compressed_slam.projection import pixel_grid, project
from compressed_slam.wide_baseline import fit_pose, world_points

if TYPE_CHECKING:
    from compressed_slam.matching import Matcher, Operator

HEIGHT, WIDTH = CAMERA.height // 8, CAMERA.width // 8
INTRINSICS = map_intrinsics(CAMERA)
REACH = 1.0  # map pixels
GRID = pixel_grid(HEIGHT, WIDTH)


class NearSighted:
    """An operator whose matcher finds nothing that is not about where it is thought to be."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self.view = operator.view

    def correspondences(self, source: Any, target: Any) -> Correspondences:  # noqa: ANN401
        return self._operator.correspondences(source, target)

    def matcher(self, *, lasting: bool) -> Matcher:
        matcher: Any = self._operator.matcher(lasting=lasting)
        refine = matcher.refine

        def near(*maps: torch.Tensor) -> Refinement:
            found: Refinement = refine(*maps)
            seen = (found.delta.norm(dim=-1, keepdim=True) < REACH).float()
            return Refinement(found.delta * seen, found.weight * seen)

        matcher.refine = near
        limited: Matcher = matcher
        return limited


class Featureless(NearSighted):
    """The same where no two pixels look alike."""

    def correspondences(self, source: Any, target: Any) -> Correspondences:  # noqa: ANN401
        del source, target
        nothing = torch.zeros(HEIGHT, WIDTH, 2)
        return Correspondences(nothing, nothing[..., 0] > 0)


class Timid(NearSighted):
    """An operator whose matcher takes long motions for shorter ones, wherever it begins.

    It is unsure of them, as networks are that have seen none.
    """

    def matcher(self, *, lasting: bool) -> Matcher:
        matcher: Any = self._operator.matcher(lasting=lasting)
        refine = matcher.refine

        def timid(coords: torch.Tensor, target: torch.Tensor) -> Refinement:
            found: Refinement = refine(coords, target)
            flow = coords + found.delta - GRID
            far = (flow.norm(dim=-1).mean((1, 2)) > REACH)[:, None, None, None]
            shorter = found.delta - 0.3 * flow
            return Refinement(
                torch.where(far, shorter, found.delta),
                torch.where(far, 0.1 * found.weight, found.weight),
            )

        matcher.refine = timid
        limited: Matcher = matcher
        return limited


def test_pictures_far_apart_are_followed_by_their_features() -> None:
    shots = walk("wander", 1, 4.0, 12.0)[::6]
    drive = Drive("rgbd", noise=0.05, wrap=NearSighted)(shots)
    assert all(each.health is Health.TRACKING for each in drive.estimates[1:])
    drive.tracker.finish()
    assert drive.error() < 0.02
    # It is not near enough for matching alone.
    lost = Drive("rgbd", noise=0.05, wrap=Featureless)(shots)
    assert any(each.health is Health.LOST for each in lost.estimates)


def test_unsure_matches_do_not_tear_what_features_have_tied() -> None:
    shots = walk("wander", 1, 4.0, 12.0)[::6]
    drive = Drive("rgbd", noise=0.05, wrap=Timid)(shots)
    assert all(each.health is Health.TRACKING for each in drive.estimates[1:])
    drive.tracker.finish()
    assert drive.error() < 0.02


def test_features_that_moved_are_found_between_the_pixels() -> None:
    torch.manual_seed(0)
    whole = F.interpolate(torch.randn(1, 16, 10, 12), scale_factor=16, mode="bicubic")[0]
    source = whole[:, :, :160:4][:, :120:4].permute(1, 2, 0)
    target = whole[:, 5:125:4, 13:173:4].permute(1, 2, 0)  # 1.25 rows up and 3.25 columns left
    found = mutual_nearest(source, target)
    inside = found.mutual[2:, 4:]
    assert inside.float().mean() > 0.9
    rows, columns = torch.meshgrid(torch.arange(2.0, 30), torch.arange(4.0, 40), indexing="ij")
    error = (found.target[2:, 4:] - torch.stack([columns - 3.25, rows - 1.25], -1))[inside]
    assert error.norm(dim=-1).median() < 0.25  # of whole pixels .35
    # What has left the picture is nobody's nearest.
    assert found.mutual[:, :1].float().mean() < 0.3


@pytest.mark.parametrize("outliers", [0.6, 1.0])
def test_a_pose_is_what_many_agree_with(outliers: float) -> None:
    torch.manual_seed(1)
    disps = 0.2 + torch.rand(1, HEIGHT, WIDTH)
    key, true = se3.exp(torch.tensor([[0.3, 0, 1, 0, 0.2, 0], [0.6, 0.1, 0.7, 0.1, 0.6, -0.1]]))
    poses = torch.stack([key, true])
    there = torch.tensor([0]), torch.tensor([1])
    target, paired = project(poses, disps.repeat(2, 1, 1), INTRINSICS, *there)
    wrong = torch.rand(paired.shape) < outliers
    anywhere = torch.rand(target.shape) * torch.tensor([WIDTH, HEIGHT])
    target = torch.where(wrong[..., None], anywhere, target)
    found = fit_pose(
        Landmarks(key[None], disps, INTRINSICS),
        world_points(key[None], disps, INTRINSICS),
        target,
        paired,
        INTRINSICS,
    )
    if outliers == 1.0:
        assert found is None
        return
    assert found is not None
    located, agrees = found
    assert se3.log(se3.compose(located.pose, se3.inverse(true))).norm() < 0.01
    assert agrees[paired & ~wrong].all()
