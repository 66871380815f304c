"""Node and simulated robot as processes of their own clear a table, and survive each other."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from grasp_bundle import write_grasp_bundle
from grasp_process import grasp_node

from edge_worlds.tabletop.camera import oblique_camera
from edge_worlds.tabletop.episode import LOG, SHEET
from edge_worlds.tabletop.robot_node import pose_text

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("domain_id")]

PATIENCE_S = 120
CAMERA_POSE = pose_text(np.linalg.inv(oblique_camera().world_to_camera))


def robot(output: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edge_worlds.tabletop.robot", output, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def log_of(output: Path) -> dict[str, Any]:
    file = output / LOG
    return json.loads(file.read_text()) if file.is_file() else {"actions": []}


def wait_for_actions(output: Path, count: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while len(log_of(output)["actions"]) < count:
        assert time.monotonic() < end, log_of(output)
        time.sleep(0.05)


def test_a_table_is_cleared_although_both_are_killed_in_mid_episode(tmp_path: Path) -> None:
    bundle = write_grasp_bundle(tmp_path / "bundle")
    output, log = tmp_path / "episode", tmp_path / "log"
    words = ("--pile", "4", "--seed", "3")
    with grasp_node(bundle, log, camera_pose=CAMERA_POSE) as node:
        first = robot(output, *words)
        wait_for_actions(output, 1)
        node.send_signal(signal.SIGKILL)
        node.wait()
        done = len(log_of(output)["actions"])
    with grasp_node(bundle, log, camera_pose=CAMERA_POSE):
        wait_for_actions(output, done + 1)
        first.kill()
        first.wait()
        before = log_of(output)
        assert before["result"] is None
        second = robot(output, *words)
        said, complained = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 0, complained
    after = log_of(output)
    assert after["actions"][: len(before["actions"])] == before["actions"]
    assert after["result"] == "cleared", after
    assert sum(action["grasped"] for action in after["actions"]) == after["objects"]
    assert "cleared" in said
    assert (output / SHEET).stat().st_size > 10_000
    assert "Traceback" not in log.read_text() + complained


def test_a_robot_without_a_node_ends_with_one_line_that_says_what_to_start(tmp_path: Path) -> None:
    alone = robot(tmp_path / "episode", "--packed", "2", "--patience", "1")
    _, complained = alone.communicate(timeout=PATIENCE_S)
    assert alone.returncode == 1
    last = complained.strip().splitlines()[-1]
    assert "no action came on /grasp/action for 1 s; start grasp_node" in last
    assert CAMERA_POSE in last
