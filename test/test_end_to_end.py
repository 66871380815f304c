"""The whole road as a user walks it: the demo, and real recordings into the shipped bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
REPLAY = Path(sys.executable).with_name("replay")


def replay(*words: object) -> None:
    done = subprocess.run(
        [REPLAY, *map(str, words)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def report(folder: Path) -> dict[str, Any]:
    assert "<html" in (folder / "report.html").read_text()
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content


@pytest.mark.ros
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    Path(sys.prefix) != REPOSITORY / ".venv", reason="the demo makes and uses .venv, not this one"
)
def test_the_demo_compresses_serves_replays_and_reports(tmp_path: Path) -> None:
    demo = [REPOSITORY / "scripts" / "demo", tmp_path]
    done = subprocess.run(demo, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{tmp_path}/report.html" in done.stdout.splitlines()[-1]

    variants = {v["name"]: v for v in report(tmp_path / "compress")["variants"]}
    assert list(variants)[:3] == ["original fp32", "pruned fp32", "pruned int8"]
    original, small = variants["original fp32"], variants["pruned int8"]
    assert original["parameters"] == 131_705
    assert small["macs"] < 0.87 * original["macs"]
    assert small["bytes"] < 0.4 * original["bytes"]
    assert small["accuracy"]["pck@0.5"] > original["accuracy"]["pck@0.5"] - 0.1

    played = report(tmp_path)
    assert played["node"]["bundle"] == "pose_demo"
    assert played["node"]["precision"] == "int8"
    assert played["playback"]["published"] == 90
    assert played["playback"]["answered"] > 80
    assert {"preprocess", "engine", "clustering", "total"} <= set(played["latency_ms"])
    assert played["score"]["metrics"]["pck@0.5"] > 0.8

    episode = json.loads((tmp_path / "episode" / "episode.json").read_text())
    assert episode["actions"][-1]["remaining"] == 0
    decided = report(tmp_path / "grasp")
    assert decided["node"]["bundle"].startswith("grasp")
    assert decided["playback"]["answered"] == decided["playback"]["published"] > 0

    tracked = report(tmp_path / "slam")["score"]["metrics"]
    assert tracked["tracked"] > 0.9
    assert tracked["ate"] < 0.1  # metres


@pytest.mark.ros
@pytest.mark.parametrize("bag", ["fiducial_board_611", "fiducial_board_611.bag"])
def test_a_real_recording_is_answered(shared_data: Path, tmp_path: Path, bag: str) -> None:
    path = shared_data / "bags" / bag
    replay("run", "--skill", "pose", "--bag", path, "--output", tmp_path)
    played = report(tmp_path)
    # The recording holds one compressed picture of 1280x720, and no arm.
    assert played["playback"]["answered"] == played["playback"]["published"] == 1
    assert played["score"] is None
    assert played["node"]["bundle"].startswith("pose")


@pytest.mark.ros
def test_real_photos_become_a_bag_and_are_answered(shared_data: Path, tmp_path: Path) -> None:
    bag, output = tmp_path / "franka", tmp_path / "output"
    replay("convert", shared_data / "pose" / "franka", bag, "--skill", "pose", "--rate", 5)
    labels = json.loads((bag / "labels.json").read_text())
    assert labels["names"][0] == "panda_link0"
    replay("run", "--skill", "pose", "--bag", bag, "--output", output)
    played = report(output)
    assert played["playback"]["answered"] == 5
    # The shipped network knows another arm: the labels cannot judge it, and the report says so.
    assert any("panda_link0" in note for note in played["notes"])
