"""What is claimed of a pose's error, against the error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

pytest.importorskip("numba", reason="numba comes with the extra [slam]")

from compressed_slam import se3
from compressed_slam.droid_operator import DroidOperator
from compressed_slam.engines import EngineNetworks
from compressed_slam.estimate import Health
from compressed_slam.frame import Frame
from compressed_slam.settings import preset
from compressed_slam.tracker import Tracker
from compressed_slam.uncertainty import Uncertainty
from edge_runtime.bundle import load_bundle
from edge_runtime.calibration import Calibration
from edge_runtime.engine import open_engines
from edge_runtime.share import shipped_bundle
from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from compressed_slam.training.clips import Clip

FRAMES = 16


def test_errors_add_up_from_keyframe_to_keyframe_and_turns_move_what_is_far() -> None:
    sure = Uncertainty()
    still, ahead = se3.identity(), torch.tensor([0.0, 0, -2, 0, 0, 0, 1])  # the camera 2 m on
    first = torch.diag(torch.tensor([1.0, 2, 3, 4, 5, 6]))
    once = sure.of(first, still, keyframe=0)
    assert torch.equal(once, once[0, 0] * first)
    sure.remember([0, 1], once)
    nothing = torch.zeros(6, 6)
    torch.testing.assert_close(sure.of(nothing, still, keyframe=1), once)
    moved = sure.of(nothing, ahead, keyframe=1).diagonal()
    # About x and y, a lever of 2 m; along and about z nothing new.
    lever = 4 * once.diagonal()[[4, 3]]
    torch.testing.assert_close(moved[:2], once.diagonal()[:2] + lever)
    torch.testing.assert_close(moved[2:], once.diagonal()[2:])
    sure.remember([2], once)
    assert torch.equal(sure.of(nothing, still, keyframe=1), nothing)


def test_the_shipped_weights_know_how_far_off_they_are_in_a_room(room: Clip) -> None:
    engines = open_engines(load_bundle(shipped_bundle("slam"), "slam"), threads=1)
    operator = DroidOperator(EngineNetworks({name: one.run for name, one in engines.items()}))
    fx, fy, cx, cy = room.intrinsics
    height, width = room.bgr.shape[1:3]
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    camera = Calibration(width, height, matrix, np.zeros(0), "plumb_bob")
    tracker = Tracker(preset("tum"), operator, camera, measures_depth=True)
    told = [
        tracker.track(Frame(index * 100_000_000, bgr, depth.astype(np.float32)))
        for index, (bgr, depth) in enumerate(zip(room.bgr[:FRAMES], room.depth, strict=False))
    ]
    tracker.close()
    for engine in engines.values():
        engine.close()
    assert {each.health for each in told[1:]} == {Health.TRACKING}
    poses = np.stack([each.pose.double().numpy() for each in told])
    ours = Trajectory(np.arange(FRAMES), poses).matrices()
    truth = np.array(room.poses[:FRAMES], float)
    # Both from the first keyframe, of which nothing is unsure.
    moved = (np.linalg.inv(ours[0]) @ ours)[1:, :3, 3]
    true = (np.linalg.inv(truth[0]) @ truth)[1:, :3, 3]
    squares = ((moved - true) ** 2).sum(axis=1)
    claims = [each.covariance.diagonal()[:3].sum().item() for each in told[1:]]
    ratio = np.sqrt(squares.mean() / np.mean(claims))
    assert 0.4 < ratio < 2.5, (np.sqrt(squares), np.sqrt(claims))
