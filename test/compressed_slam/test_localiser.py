from __future__ import annotations

import pytest
import torch

pytest.importorskip("numba", reason="numba comes with the extra [slam]")

from recordings import CAMERA, walk

from compressed_slam import se3
from compressed_slam.frame import Frame, map_intrinsics
from compressed_slam.keyframes import Keyframes
from compressed_slam.localiser import Localiser
from compressed_slam.oracle import Oracle
from compressed_slam.snapshot import Snapshot

SHOTS = (0, 4)  # the keyframe and what is located by it


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.3])
def test_the_covariance_is_that_of_the_errors(noise: float) -> None:
    shots = walk("wander", 1, 4.0, 12.0)
    keyframe, seen = (shots[index] for index in SHOTS)
    truth = {shot.stamp: (shot.pose, shot.depth) for shot in (keyframe, seen)}
    oracle = Oracle(truth.__getitem__, CAMERA, noise=noise)
    localiser = Localiser(oracle, map_intrinsics(CAMERA))
    frames = [Frame(s.stamp, s.bgr, s.depth) for s in (keyframe, seen)]
    poses = [se3.inverse(torch.tensor(s.pose)).float() for s in (keyframe, seen)]
    keyframes = Keyframes(2, (CAMERA.height // 8, CAMERA.width // 8))
    keyframes.append(frames[0], oracle.view(frames[0]), poses[0], 1.0)

    errors, claims = [], []
    known = Snapshot.of(keyframes, 0, 0, started=True)
    for _ in range(40):
        located = localiser.locate(oracle.view(frames[1]), poses[0], known, [0]).located
        assert located.solved
        errors.append(se3.log(se3.compose(located.pose, se3.inverse(poses[1]))))
        claims.append(located.covariance)
    covariance = torch.stack(claims).mean(0)
    # Squared Mahalanobis distances of six dimensions: six on average, to 12 % for forty.
    distances = [error @ torch.linalg.solve(covariance, error) for error in errors]
    assert 6 / 1.6 < torch.stack(distances).mean() < 6 * 1.6
