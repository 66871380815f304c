"""The real node's map at the end of a replay: kept, and scored beside what was told in its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("rosbags", reason="rosbags comes with the extra [replay]")
pytest.importorskip("nav_msgs", reason="nav_msgs comes with the extra [ros]")

from compressed_slam.map_files import read_map
from compressed_slam.skill import SlamSkill
from edge_replay.convert import convert
from edge_replay.run import RunOptions, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.ros


def test_the_map_of_the_last_turn_is_kept_and_scored(recording: Path, tmp_path: Path) -> None:
    convert(recording, tmp_path / "bag")
    output = tmp_path / "out"
    # The 20 images once, and 10 of them again.
    report = run(SlamSkill(), RunOptions(tmp_path / "bag", output, rate=10.0, seconds=3.0))
    assert report.score is not None
    metrics = report.score.metrics
    assert 0 < metrics["map_share"] < 0.8
    assert metrics["map_ate"] < 0.03
    assert {"trajectory.txt", "points.ply"} < {path.name for path in (output / "map").iterdir()}
    assert len(read_map(output / "map")) >= 1
    assert "the saved map and the truth" in (output / "report.html").read_text()
