"""A real recording of a depth camera through the whole system; flow by its own depth and poses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba comes with the extra [slam]")

from compressed_slam.evaluation import absolute_error
from compressed_slam.frame import Frame
from compressed_slam.oracle import Oracle
from compressed_slam.settings import preset
from compressed_slam.tracker import Health, Tracker
from compressed_slam.undistortion import FRAMINGS, Rectifier
from edge_replay.datasets.layouts import open_sequence
from edge_runtime.trajectory import read_trajectory, write_trajectory

if TYPE_CHECKING:
    from pathlib import Path


def test_redkitchen_is_tracked_to_two_centimetres(shared_data: Path, tmp_path: Path) -> None:
    sequence = open_sequence(shared_data / "slam" / "redkitchen")
    truth = sequence.ground_truth
    rectifier = Rectifier(sequence.camera, FRAMINGS["tum"](sequence.camera))
    depths = {}

    def known(stamp: int) -> tuple[np.ndarray, np.ndarray]:
        return truth.poses[np.abs(truth.stamps - stamp).argmin()], depths[stamp]

    tracker = Tracker(
        preset("tum"), Oracle(known, rectifier.camera), rectifier.camera, measures_depth=True
    )
    states = []
    shown = range(0, len(sequence), 2)  # every other frame: as good a proof in half the time
    for index in shown:
        stamp = int(sequence.stamps[index])
        depth = depths[stamp] = rectifier.depth(sequence.depth(index))
        picture = rectifier.image(sequence.bgr(index))
        states.append(tracker.track(Frame(stamp, picture, depth)).health)
        depths = {stamp: depth}
    tracker.finish()

    assert states[1:] == [Health.TRACKING] * (len(shown) - 1)
    write_trajectory(tmp_path / "redkitchen.txt", tracker.trajectory())
    ours = read_trajectory(tmp_path / "redkitchen.txt")
    assert len(ours) == len(shown)
    assert absolute_error(truth, ours, alignment="se3").translation.rmse < 0.02
