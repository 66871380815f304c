"""A run as a recording for Rerun, and what is said where that cannot be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="rosbags comes with the extra [replay]")
pytest.importorskip("rclpy", reason="rclpy comes with the extra [ros]")

from compressed_slam.interface import SLAM
from compressed_slam.map_files import TRAJECTORY
from compressed_slam.offline.replaying import POSE
from compressed_slam.skill import SlamSkill
from edge_replay.bags import Recording
from edge_replay.convert import convert
from edge_replay.protocol import PlayedRun, RecordsRuns, SavedRun
from edge_replay.run import RunOptions, run
from edge_runtime.errors import SettingError
from edge_runtime.trajectory import write_trajectory


def told(pose: np.ndarray) -> SimpleNamespace:
    x, y, z, qx, qy, qz, qw = pose
    pose_ = SimpleNamespace(
        position=SimpleNamespace(x=x, y=y, z=z),
        orientation=SimpleNamespace(x=qx, y=qy, z=qz, w=qw),
    )
    return SimpleNamespace(pose=SimpleNamespace(pose=pose_, covariance=np.eye(6).ravel()))


@pytest.fixture
def played(recording: Path, tmp_path: Path) -> PlayedRun:
    convert(recording, tmp_path / "bag")
    bag = Recording(tmp_path / "bag", SLAM.inputs, {})
    assert bag.truth is not None
    answers = [
        (stamp, {POSE: told(pose)})
        for stamp, pose in zip(bag.truth.stamps.tolist(), bag.truth.poses, strict=True)
    ]
    saved = tmp_path / "map"
    saved.mkdir()
    write_trajectory(saved / TRAJECTORY, bag.truth)
    stamps = {stamp: stamp for stamp, _ in answers}
    return PlayedRun(answers, [], bag, None, None, {}, SavedRun(saved, stamps))


def test_camera_paths_points_and_errors_are_recorded(
    played: PlayedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk comes with the extra [rerun]")
    skill = SlamSkill()
    assert isinstance(skill, RecordsRuns)
    monkeypatch.chdir(tmp_path.parent)
    file = Path(tmp_path.name, "run.rrd")
    skill.record(played, file)
    content = file.read_bytes()
    assert content.startswith(b"RRF")
    for entity in (
        "/map/told",
        "/map/saved",
        "/map/truth",
        "/map/camera",
        "/map/points/0",
        "/error [m]",
    ):
        assert entity.encode().replace(b" [m]", b"") in content, entity
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bag", "map", "run.rrd"]
    lost: Any = PlayedRun([], [], played.recording, None, None, {})
    with pytest.raises(SettingError, match="knew no pose"):
        skill.record(lost, file)
    assert file.read_bytes() == content


def test_what_cannot_be_recorded_is_refused_before_the_run(tmp_path: Path) -> None:
    options = RunOptions(bag=tmp_path, output=tmp_path / "out", rerun=tmp_path / "no" / "run.rrd")
    skill: Any = SlamSkill()
    with pytest.raises(SettingError, match=r"run\.rrd: give a file"):
        run(skill, options)
    plain: Any = SimpleNamespace(name="plain", node=SLAM)
    with pytest.raises(SettingError, match="the skill plain has no recording for Rerun"):
        run(plain, options)
    assert not (tmp_path / "out").exists()
