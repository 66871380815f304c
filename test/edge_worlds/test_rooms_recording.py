"""A recorded walk reads back as what the renderer made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_replay.datasets.layouts import open_sequence
from edge_worlds.rooms.recording import main
from edge_worlds.rooms.renderer import Pinhole, render
from edge_worlds.rooms.room import make_room

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SIZE = (96, 64)


def test_depth_poses_and_camera_of_a_recorded_walk_are_those_of_the_room(tmp_path: Path) -> None:
    folder = tmp_path / "walk"
    assert main([str(folder), "--frames", "3", "--size", *map(str, SIZE), "--seed", "4"]) == 0
    sequence = open_sequence(folder)
    assert (len(sequence), sequence.camera.width, sequence.camera.height) == (3, *SIZE)
    np.testing.assert_array_equal(np.round(np.diff(sequence.stamps) / 1e6), 33)
    truth = sequence.ground_truth
    assert truth is not None
    found, places = truth.nearest(sequence.stamps, 1e-3)
    assert found.tolist() == [0, 1, 2]
    matrix = sequence.camera.matrix
    camera = Pinhole(*SIZE, matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
    bgr, depth = render(make_room(4), camera, truth.poses[places[2]])
    seen = sequence.depth(2)
    assert seen is not None
    assert np.median(np.abs(seen - depth)) < 2e-4  # a depth image's unit
    # With the sensor's noise and exposure.
    assert np.median(np.abs(sequence.bgr(2).astype(float) - bgr)) < 10


def test_a_recording_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--frames", "3"]) == 1
    assert f"'{tmp_path}' exists already" in capsys.readouterr().err
