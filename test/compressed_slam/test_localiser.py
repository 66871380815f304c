from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import torch

pytest.importorskip("numba", reason="numba comes with the extra [slam]")

from recordings import CAMERA, walk

from compressed_slam import se3
from compressed_slam.frame import Frame, map_intrinsics
from compressed_slam.keyframes import Keyframes
from compressed_slam.localiser import Localiser
from compressed_slam.oracle import Oracle
from compressed_slam.pace import Pace
from compressed_slam.snapshot import Snapshot

if TYPE_CHECKING:
    from compressed_slam.localiser import Localisation
    from compressed_slam.matching import Correspondences, Matcher, Refinement, View

SHOTS = (0, 4)  # the keyframe and what is located by it


class Scene:
    """A keyframe, and a picture to be located by it; `poses` are the true ones of both."""

    def __init__(self, noise: float) -> None:
        shots = [walk("wander", 1, 4.0, 12.0)[index] for index in SHOTS]
        truth = {shot.stamp: (shot.pose, shot.depth) for shot in shots}
        self.steps = self.edges = 0
        self.keyframes = 1
        self._oracle = Oracle(truth.__getitem__, CAMERA, noise=noise)
        self._localiser = Localiser(self, map_intrinsics(CAMERA))
        frames = [Frame(s.stamp, s.bgr, s.depth) for s in shots]
        self.poses = [se3.inverse(torch.tensor(s.pose)).float() for s in shots]
        keyframes = Keyframes(2, (CAMERA.height // 8, CAMERA.width // 8))
        keyframes.append(frames[0], self.view(frames[0]), self.poses[0], 1.0)
        self._known = Snapshot.of(keyframes, 0, 0, started=True)
        self._seen = frames[1]
        self.disparity = float(frames[0].disp.mean())

    def locate(self, guess: torch.Tensor, steps: int = 2, **limits: float) -> Localisation:
        self.steps = 0
        view, rows = self.view(self._seen), [0] * self.keyframes
        return self._localiser.locate(view, guess, self._known, rows, steps=steps, **limits)

    def view(self, frame: Frame) -> View:
        return self._oracle.view(frame)

    def correspondences(self, source: Any, target: Any) -> Correspondences:  # noqa: ANN401
        return self._oracle.correspondences(source, target)

    def matcher(self, *, lasting: bool) -> Matcher:
        """The oracle's; the steps that it is asked for are counted."""
        matcher: Any = self._oracle.matcher(lasting=lasting)
        refine = matcher.refine

        def counted(*maps: torch.Tensor) -> Refinement:
            self.steps += 1
            self.edges = len(maps[0])
            answer: Refinement = refine(*maps)
            return answer

        matcher.refine = counted
        counting: Matcher = matcher
        return counting


def test_matching_ends_where_it_agrees_with_the_guess() -> None:
    scene = Scene(0.02)
    there = scene.poses[1]
    for guess, steps in ((there, 1), (scene.poses[0], 2)):
        error = se3.log(se3.compose(scene.locate(guess, 8).located.pose, se3.inverse(there)))
        assert scene.steps == steps
        assert error.norm() < 0.005


def test_a_rotation_that_hides_a_translation_is_matched_again() -> None:
    scene = Scene(0.02)
    sideways = torch.tensor([0.08, 0, 0, 0, 0, 0])
    turned = torch.tensor([0.0, 0, 0, 0, -0.08 * scene.disparity, 0])
    for move, steps in ((sideways, 2), (sideways + turned, 2), (0.1 * (sideways + turned), 1)):
        guess = se3.compose(se3.exp(move), scene.poses[1])
        error = se3.log(se3.compose(scene.locate(guess).located.pose, se3.inverse(scene.poses[1])))
        assert scene.steps == steps
        assert error.norm() < 0.005


def test_no_step_but_the_first_is_made_without_time_for_it() -> None:
    scene = Scene(0.02)
    for left_s, steps in ((-1.0, 1), (0.0, 1), (60.0, 2)):
        found = scene.locate(scene.poses[0], deadline=time.monotonic() + left_s)
        assert scene.steps == steps
        assert found.located.solved


def test_where_one_step_would_be_late_the_latest_keyframe_alone_is_matched() -> None:
    scene = Scene(0.02)
    scene.keyframes = 2  # the same one
    for left_s, edges in ((60.0, 2), (1e-6, 1), (60.0, 2)):
        scene.locate(scene.poses[0], deadline=time.monotonic() + left_s)
        assert scene.edges == edges


def test_a_picture_is_due_before_the_next_one_comes() -> None:
    pace = Pace()
    assert pace.deadline(0, 10.0) == float("inf")
    # Every tenth of a second; the fourth was dropped, the seventh comes late.
    for arrived in (10.1, 10.2, 10.4, 10.5, 10.69, 10.7):
        deadline = pace.deadline(round(1e9 * (arrived - 10.0)), arrived)
    assert 0.05 < deadline - 10.7 < 0.1
    for number in range(1, 10):  # the camera has become slower
        deadline = pace.deadline(10**9 * number, 10.7 + number)
    assert 0.5 < deadline - 19.7 < 1.0
    for number in range(10, 20):  # one each second, whenever they come
        deadline = pace.deadline(10**9 * number, 20.0 + 0.01 * number)
    assert 0.5 < deadline - 20.19 < 1.0


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.3])
def test_the_covariance_is_that_of_the_errors(noise: float) -> None:
    scene = Scene(noise)
    errors, claims = [], []
    for _ in range(40):
        located = scene.locate(scene.poses[0]).located
        assert located.solved
        errors.append(se3.log(se3.compose(located.pose, se3.inverse(scene.poses[1]))))
        claims.append(located.covariance)
    covariance = torch.stack(claims).mean(0)
    # Squared Mahalanobis distances of six dimensions: six on average, to 12 % for forty.
    distances = [error @ torch.linalg.solve(covariance, error) for error in errors]
    assert 6 / 1.6 < torch.stack(distances).mean() < 6 * 1.6
