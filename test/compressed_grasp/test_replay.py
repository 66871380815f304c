"""`replay` on views of a table: through the real node, and its actions judged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from grasp_bundle import write_grasp_bundle
from grasp_process import CAMERA_HEIGHT, MATRIX, table
from std_msgs.msg import Header

from compressed_grasp.action import plan
from compressed_grasp.heightmap import HeightMap
from compressed_grasp.messages import action_message
from compressed_grasp.replay import ACTION_TOPIC, GraspReplay
from compressed_grasp.workspace import Workspace
from edge_replay.bags import Recording
from edge_replay.protocol import PlayedRun

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.ros

PLACES = ((0.05, 0.05), (-0.08, 0.02), (0.0, -0.1))


def replay(*words: object) -> str:
    command = [sys.executable, "-m", "edge_replay", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def views(tmp_path: Path) -> Path:
    pose = np.diag([1.0, -1, -1, 1])
    pose[2, 3] = CAMERA_HEIGHT
    for k, place in enumerate(PLACES):
        view = tmp_path / "views" / str(k)
        view.mkdir(parents=True)
        depth = table(place)
        color = np.repeat((depth < CAMERA_HEIGHT)[..., None] * np.uint8(200), 3, axis=2)
        cv2.imwrite(str(view / "color.png"), color)
        cv2.imwrite(str(view / "depth.png"), np.rint(depth * 1000).astype(np.uint16))
        np.savetxt(view / "camera_pose.txt", pose)
        np.savetxt(view / "camera_matrix.txt", MATRIX)
    return tmp_path / "views"


def test_every_view_gets_an_action_on_its_block_that_fp32_agrees_with(
    views: Path, tmp_path: Path
) -> None:
    bundle = write_grasp_bundle(tmp_path / "bundle")
    output = tmp_path / "output"
    replay("run", "--skill", "grasp", "--folder", views, "--bundle", bundle, "--output", output)
    report: dict[str, Any] = json.loads((output / "report.json").read_text())
    assert report["playback"]["answered"] == len(PLACES)
    assert report["score"]["metrics"] == {"same_action": 1.0, "same_kind": 1.0, "q_loss": 0.0}
    assert {"heightmap", "engine", "choice", "overhead"} <= set(report["latency_ms"])
    page = (output / "report.html").read_text()
    found = re.findall(r"(?:grasp|push) at x (\S+), y (\S+),", page)[
        ::2
    ]  # in its section and as a caption
    assert len(found) == len(PLACES)
    assert np.abs(np.array(found, float) - PLACES).max() < 0.06


def test_another_action_than_that_of_fp32_is_none_that_agrees(views: Path, tmp_path: Path) -> None:
    bundle = write_grasp_bundle(tmp_path / "bundle")
    replay("convert", views, tmp_path / "bag")
    skill = GraspReplay()
    recording = Recording(tmp_path / "bag", skill.node.inputs, {})
    parameters = dict(skill.node_parameters(recording, None))
    assert parameters["camera_pose"].startswith("0.000000000 0.000000000 0.7")
    workspace = Workspace.square(112)
    empty = HeightMap(np.zeros((112, 112), np.float32), np.zeros((112, 112, 3), np.uint8))
    far = plan("grasp", (3, 3), 0, empty, workspace)
    answers = [
        (frame.stamp, {ACTION_TOPIC: action_message(action, Header(frame_id="table"))})
        for frame, action in zip(recording.frames(), (far, None, far), strict=True)
    ]
    run = PlayedRun(answers, [], recording, None, bundle, parameters)
    score = skill.score(run)
    assert score is not None
    assert score.metrics["same_action"] == 0
    assert score.metrics["same_kind"] == pytest.approx(2 / 3)
    assert score.metrics["q_loss"] > 0.2
    pictures = skill.pictures(run)
    assert [caption.split()[0] for caption, _ in pictures] == ["grasp", "nothing", "grasp"]
    assert all(picture.shape[0] == 240 for _, picture in pictures)
