"""`replay run` with the real node process over real DDS, on the small spot skill."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import psutil
import pytest
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

from edge_replay.run import RunOptions

if TYPE_CHECKING:
    from conftest import Suite

REPLAY = Path(sys.executable).parent / "replay"

pytestmark = pytest.mark.ros


@pytest.fixture
def bag(suite: Suite, folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "bag"
    suite.replay("convert", folder, path, "--skill", "spot", "--rate", 20)
    return path


def _report(output: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((output / "report.json").read_text())
    return report


def test_every_frame_is_answered_timed_and_scored(suite: Suite, bag: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    said = suite.replay(
        "run", "--skill", "spot", "--bag", bag, "--bundle", suite.bundle, "--output", output,
        "--param", "delay_ms:=10.0",
    )  # fmt: skip
    report = _report(output)
    played = report["playback"]
    assert (played["published"], played["received"], played["answered"]) == (5, 5, 5)
    assert (played["lost"], played["dropped"], played["rejected"], played["failed"]) == (0, 0, 0, 0)
    assert played["published_hz"] == pytest.approx(20, rel=0.3)
    assert report["score"]["metrics"]["mean error [px]"] < 0.5
    latency = report["latency_ms"]
    assert list(latency) == [
        "end to end", "outside node", "overhead", "queue", "decode", "engine", "publish", "total"
    ]  # fmt: skip
    for row in latency.values():
        assert 0 <= row["p50"] <= row["p95"] <= row["p99"] <= row["max"]
    assert 10 <= latency["engine"]["p50"] <= latency["total"]["p50"] < latency["end to end"]["p50"]
    # What the node adds to the skill's work does not hold that work's 10 ms.
    assert latency["overhead"]["max"] <= latency["total"]["max"] - 10
    manifest = (suite.bundle / "manifest.json").read_bytes()
    assert report["node"]["bundle hash"] == hashlib.sha256(manifest).hexdigest()
    assert report["usage"]["rss_max_mib"] > 20
    page = (output / "report.html").read_text()
    assert page.count("data:image/jpeg") == 5
    assert "data:image/svg+xml" in page
    assert not re.search(r"(src|href)=.(?!data:|#)", page)
    assert "within 2 px" in said
    assert "serving" in (output / "node.log").read_text()


def test_frames_that_a_busy_node_drops_are_told_from_those_lost(
    suite: Suite, bag: Path, tmp_path: Path
) -> None:
    suite.replay(
        "run", "--skill", "spot", "--bag", bag, "--bundle", suite.bundle, "--output", tmp_path,
        "--rate", 50, "--seconds", 2, "--param", "delay_ms:=100.0",
    )  # fmt: skip
    played = _report(tmp_path)["playback"]
    assert played["published"] == 100
    assert played["dropped"] > 50
    assert played["lost"] + played["dropped"] + played["answered"] == 100
    assert played["answered"] < 30


def test_the_highest_rate_is_what_the_node_can_answer_for_a_whole_pass(
    suite: Suite, bag: Path, tmp_path: Path
) -> None:
    said = suite.replay(
        "run", "--skill", "spot", "--bag", bag, "--bundle", suite.bundle, "--output", tmp_path,
        "--rate", "max", "--seconds", 4,
        "--param", "delay_ms:=50.0", "--param", "tires_after:=45",
    )  # fmt: skip
    report = _report(tmp_path)
    played = report["playback"]
    # The worker is busy for 50 ms per frame: 20 Hz less what the machine takes. That many are 40
    # in a trial of two seconds, in which the node does not tire.
    assert 10 < played["published_hz"] < 21
    assert played["answered"] > 0.95 * played["published"]
    *trials, last = report["search"]
    assert last["rate_hz"] == pytest.approx(played["published_hz"])
    assert any(trial["dropped"] >= 0.05 for trial in trials)
    flattering = [trial["rate_hz"] for trial in trials if trial["dropped"] < 0.05]
    assert max(flattering) > 1.05 * last["rate_hz"]
    # Every repetition moved the stamps on: none went back, none was refused.
    assert played["rejected"] == 0
    assert report["score"]["metrics"]["within 2 px"] == 1.0
    again = suite.replay("show", tmp_path)
    assert again.strip() in said
    page = tmp_path / "both.html"
    table = suite.replay("compare", tmp_path, tmp_path, "--output", page)
    name = f"{tmp_path.name} (spot)"
    assert table.splitlines()[0].split("  ")[-2:] == [
        f"1: {tmp_path.parent.name}/{name}",
        f"2: {tmp_path.parent.name}/{name}",
    ]
    assert "2 replays compared" in page.read_text()


def test_the_search_ends_at_once_where_nothing_is_answered(suite: Suite, tmp_path: Path) -> None:
    types = get_typestore(Stores.ROS2_HUMBLE)
    kinds, type_ = types.types, "sensor_msgs/msg/Image"
    with Writer(tmp_path / "bag", version=8) as writer:
        connection = writer.add_connection("/image", type_, typestore=types)
        for second in range(1, 4):
            header = kinds["std_msgs/msg/Header"](
                kinds["builtin_interfaces/msg/Time"](second, 0), "camera"
            )
            message = kinds[type_](header, 2, 2, "mono8", 0, 1, np.zeros(4, np.uint8))
            writer.write(connection, second * 10**9, types.serialize_cdr(message, type_))
    said = suite.replay(
        "run", "--skill", "spot", "--bag", tmp_path / "bag", "--bundle", suite.bundle,
        "--output", tmp_path / "out", "--rate", "max", code=1,
    )  # fmt: skip
    assert re.search(r"answered none of the first 5 frames .*rejected 5", said), said
    assert str(tmp_path / "out" / "node.log") in said


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--param", "die_after:=2"], "the node ended with 3: the spot has burnt through"),
        (
            ["--param", "colour:=red"],
            "the node is unconfigured: configure failed: .*unknown parameter 'colour'",
        ),
        (["--bundle", "/nowhere"], "the node is unconfigured: configure failed: .*/nowhere"),
    ],
)
def test_a_node_that_fails_ends_the_replay_with_its_last_message(
    suite: Suite, bag: Path, tmp_path: Path, words: list[str], line: str
) -> None:
    output = tmp_path / "out"
    said = suite.replay(
        "run", "--skill", "spot", "--bag", bag, "--bundle", suite.bundle, "--output", output,
        *words, code=1,
    )  # fmt: skip
    assert len(said.splitlines()) == 1, said
    assert re.search(line, said), said
    assert str(output / "node.log") in said
    assert not (output / "report.json").exists()


def test_a_folder_plays_and_labels_that_do_not_fit_are_refused_after_the_report(
    suite: Suite, folder: Path, tmp_path: Path
) -> None:
    labels, output = tmp_path / "other.json", tmp_path / "out"
    labels.write_text("{}")
    (folder / "more").mkdir()
    said = suite.replay(
        "run", "--skill", "spot", "--folder", folder / "more" / "..", "--bundle", suite.bundle,
        "--output", output, "--labels", labels, code=1,
    )  # fmt: skip
    assert "other.json has no spots" in said
    report = _report(output)
    assert report["recording"]["path"] == str(folder)
    assert report["playback"]["answered"] == 5
    assert report["score"] is None
    assert "not scored" in report["notes"][-1]


def test_a_fault_in_judging_does_not_lose_the_measured_run(
    suite: Suite, bag: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    words = ["run", "--skill", "faulty", "--bundle", suite.bundle, "--output", output]
    said = suite.replay(*words, "--bag", bag)
    report = _report(output)
    assert report["playback"]["answered"] == 5
    assert report["score"] is None
    assert [note.partition(" (")[0] for note in report["notes"]] == [
        "not scored: ZeroDivisionError: division by zero",
        "no pictures: IndexError: index 120 is out of bounds for axis 0 with size 120",
    ]
    assert report["notes"][0] in said
    assert "ZeroDivisionError" in (output / "report.html").read_text()
    said = suite.replay(*words, "--bag", bag, "--labels", bag / "labels.json", code=1)
    assert said.splitlines()[-1].startswith("replay: ZeroDivisionError")


def test_the_scorer_gets_the_bundle_that_the_node_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    settings = RunOptions(
        Path("bag"), Path("out"), bundle=Path("other"), parameters={"bundle": "~/mine"}
    )
    assert settings.served == Path("/home/someone/mine")


def test_raw_images_arrive_although_the_input_is_best_effort(suite: Suite, tmp_path: Path) -> None:
    """With Fast DDS as it comes, more than half of images of this size were lost."""
    folder = tmp_path / "large"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), np.eye(720, 1280, dtype=np.uint8)[..., None] * 255)
    output = tmp_path / "out"
    suite.replay(
        "run", "--skill", "spot", "--folder", folder, "--bundle", suite.bundle,
        "--output", output, "--rate", 10, "--seconds", 5,
    )  # fmt: skip
    played = _report(output)["playback"]
    assert played["published"] == 50
    assert played["lost"] <= 5


@pytest.mark.parametrize(
    ("number", "end"),
    [
        (signal.SIGTERM, (130, ["replay: interrupted"])),
        (signal.SIGKILL, (-signal.SIGKILL, [])),
    ],
)
def test_a_replay_that_is_ended_ends_its_node(
    suite: Suite, bag: Path, tmp_path: Path, number: int, end: tuple[int, list[str]]
) -> None:
    words = ["run", "--skill", "spot", "--bag", bag, "--bundle", suite.bundle]
    words += ["--output", tmp_path, "--seconds", 60]
    command = [str(REPLAY), *map(str, words)]
    with subprocess.Popen(command, env=suite.environment, stderr=subprocess.PIPE) as replay:
        deadline = time.monotonic() + 30
        while "serving" not in _text(tmp_path / "node.log"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        (node,) = psutil.Process(replay.pid).children()
        said = suite.replay(*words, code=1)
        assert f"--output {tmp_path} is in use by another run" in said
        replay.send_signal(number)
        _, error = replay.communicate(timeout=30)
    assert (replay.returncode, error.decode().splitlines()[-1:]) == end
    psutil.wait_procs([node], timeout=5)
    assert not node.is_running()


def test_frames_without_any_time_are_answered_once_each(
    suite: Suite, bag: Path, tmp_path: Path
) -> None:
    """Stamps of 0, and record times that stand still: also when played over and over."""
    file = next(bag.glob("*.db3"))
    with sqlite3.connect(file) as database:
        database.execute(
            "UPDATE messages SET timestamp = 0, data = "
            "CAST(substr(data, 1, 4) || zeroblob(8) || substr(data, 13) AS BLOB)"
        )
    suite.replay(
        "run", "--skill", "spot", "--bag", bag, "--bundle", suite.bundle, "--output", tmp_path,
        "--seconds", 2,
    )  # fmt: skip
    report = _report(tmp_path)
    played = report["playback"]
    assert 30 < played["published"] <= 60
    assert 0.9 * played["published"] < played["answered"] <= played["published"]
    assert played["rejected"] == 0
    assert 0 < report["latency_ms"]["end to end"]["p50"] < 500
    assert [note.partition(":")[0] for note in report["notes"][:2]] == [
        "the stamps of the images are 0 or do not rise",
        "the record times of the images tell no pace",
    ]


def test_the_recording_of_another_camera_system_plays(
    suite: Suite, shared_data: Path, tmp_path: Path
) -> None:
    """Both forms of it: ROS 1 and ROS 2, one CompressedImage of 1280x720 after 28 camera infos."""
    for name in ("fiducial_board_611", "fiducial_board_611.bag"):
        output = tmp_path / name
        suite.replay(
            "run", "--skill", "spot", "--bag", shared_data / "bags" / name,
            "--bundle", suite.bundle, "--output", output,
        )  # fmt: skip
        report = _report(output)
        assert report["playback"]["answered"] == 1
        assert report["playback"]["rejected"] == 0
        assert report["score"] is None
        assert (output / "report.html").read_text().count("data:image/jpeg") == 1


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_depth_that_does_not_fit_is_told_and_costs_no_answer(
    suite: Suite, shared_data: Path, tmp_path: Path
) -> None:
    bag = shared_data / "field" / "bags" / "depth_of_other_size"
    suite.replay("run", "--skill", "pose", "--bag", bag, "--output", tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["playback"]["answered"] == report["playback"]["published"] == 8
    assert any("(depth size): why stands in node.log" in note for note in report["notes"])
    assert not any(key.startswith("incomplete") for key in report["node"])
