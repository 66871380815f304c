"""A real recording of a depth camera through the whole system; flow by its own depth and poses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba comes with the extra [slam]")

from compressed_slam.estimate import Health
from compressed_slam.evaluation import absolute_error
from compressed_slam.frame import Frame
from compressed_slam.oracle import Oracle
from compressed_slam.settings import preset
from compressed_slam.tracker import Tracker
from compressed_slam.undistortion import FRAMINGS, Rectifier
from edge_replay.datasets.layouts import open_sequence
from edge_runtime.trajectory import read_trajectory, write_trajectory

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("mode", ["mono", "rgbd"])
def test_redkitchen_is_tracked_to_two_centimetres(
    mode: str, shared_data: Path, tmp_path: Path
) -> None:
    sequence = open_sequence(shared_data / "slam" / "redkitchen")
    truth = sequence.ground_truth
    rectifier = Rectifier(sequence.camera, FRAMINGS["tum"](sequence.camera))
    depths = {}

    def known(stamp: int) -> tuple[np.ndarray, np.ndarray]:
        return truth.poses[np.abs(truth.stamps - stamp).argmin()], depths[stamp]

    oracle = Oracle(known, rectifier.camera)
    measures_depth = mode == "rgbd"
    tracker = Tracker(preset("tum"), oracle, rectifier.camera, measures_depth=measures_depth)
    states = []
    shown = range(0, len(sequence), 2)  # every other frame: as good a proof in half the time
    for index in shown:
        stamp = int(sequence.stamps[index])
        depth = depths[stamp] = rectifier.depth(sequence.depth(index))
        picture = rectifier.image(sequence.bgr(index))
        frame = Frame(stamp, picture, depth if measures_depth else None)
        states.append(tracker.track(frame).health)
        depths = {stamp: depth}
    tracker.finish()

    first = states.index(Health.TRACKING)
    assert first == 1 if measures_depth else first < len(shown) / 3
    assert set(states[first:]) == {Health.TRACKING}
    write_trajectory(tmp_path / "redkitchen.txt", tracker.trajectory())
    ours = read_trajectory(tmp_path / "redkitchen.txt")
    assert len(ours) == len(shown)
    alignment = "se3" if measures_depth else "sim3"
    assert absolute_error(truth, ours, alignment=alignment).translation.rmse < 0.02
