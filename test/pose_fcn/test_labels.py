from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_replay.protocol import PlayedRun
from edge_runtime.bundle import load_bundle
from edge_runtime.errors import SettingError
from edge_runtime.share import shipped_bundle
from pose_fcn.labels import folder_labels, read_labels
from pose_fcn.replay import KEYPOINTS_TOPIC
from pose_fcn.skill import PoseSkill

if TYPE_CHECKING:
    from pathlib import Path

    from edge_replay.protocol import Score


def test_the_real_photos_labels_are_read(shared_data: Path, tmp_path: Path) -> None:
    stamps = {f"color/{k:06d}.png": k * 10**8 for k in range(5)}
    labels = folder_labels(shared_data / "pose" / "franka", stamps)
    assert labels.camera_matrix is not None
    assert labels.camera_matrix[:3] == pytest.approx((386.3217, 0, 331.3142), abs=1e-3)
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(labels.labels))
    known = read_labels(path)
    assert known.names[:2] == ("panda_link0", "panda_link2")
    assert [frame.stamp for frame in known.frames] == list(stamps.values())
    first = known.frames[0].keypoints
    assert first[0] == pytest.approx((140.35, 452.24))
    assert first[2] is None  # panda_link3 lies left of the picture
    assert known.columns(["panda_link2", "panda_hand"]) == [None, 0, None, None, None, None, 1]


def test_bad_labels_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('{"skill": "slam", "names": [], "frames": []}')
    with pytest.raises(SettingError, match="skill"):
        read_labels(path)
    with pytest.raises(SettingError, match="cannot be read"):
        read_labels(tmp_path / "none.json")
    (tmp_path / "keypoints.json").write_text('{"frames": [{"image": "a.png"}]}')
    with pytest.raises(SettingError, match="no keypoint file"):
        folder_labels(tmp_path, {"a.png": 0})


def test_labels_of_another_arm_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('{"skill": "pose", "names": ["knee"], "frames": []}')
    with pytest.raises(SettingError, match=r"knee.*elbow"):
        read_labels(path).columns(["elbow"])


def scored(answers: list[Any], labels: Path) -> Score:
    """Score answers of a run whose recording does not matter."""
    recording: Any = None
    score = PoseSkill().score(PlayedRun(answers, [], recording, labels, None))
    assert score is not None
    return score


def test_another_arm_that_shares_some_names_is_scored_on_those_and_said(tmp_path: Path) -> None:
    """The labels know base and a knee; the bundle knows base and seven others."""
    path = tmp_path / "labels.json"
    frame = {"stamp": 5, "keypoints": [[10, 10], [50, 50]], "reference_length": 20}
    labels = {"skill": "pose", "names": ["base", "knee"], "frames": [frame]}
    path.write_text(json.dumps(labels), "utf-8-sig")
    rows = np.full((8, 6), np.nan, "<f4")
    rows[0, 3:5] = (12, 10)
    answers = {KEYPOINTS_TOPIC: SimpleNamespace(data=rows.tobytes())}
    score = scored([(5, answers)], path)
    assert score.metrics["pck@2.5px"] == score.metrics["found"] == 1.0
    (note,) = score.notes
    assert "scored on the 1 keypoints in both labels and bundle: base;" in note
    assert "the bundle does not know the labelled knee;" in note
    assert score.better["mean_error_px"] == "lower"
    assert score.metrics.keys() <= PoseSkill.metric_descriptions.keys()

    path.write_text(
        json.dumps(
            {
                **labels,
                "names": load_bundle(shipped_bundle("pose"), "pose").manifest.names,
                "frames": [],
            }
        )
    )
    assert scored([], path).notes == ()
