"""Runs that are judged as a whole, of a node that remembers and that answers on request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

from edge_replay.bags import Recording
from edge_replay.camera_messages import CameraMessages
from edge_runtime.interface import Input

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Suite

TYPES = get_typestore(Stores.ROS2_HUMBLE)
SECOND = 1_000_000_000


@pytest.fixture
def bag(suite: Suite, folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "bag"
    suite.replay("convert", folder, path, "--skill", "travel", "--rate", 20)
    return path


def replayed(suite: Suite, bag: Path, output: Path, *words: object) -> dict[str, Any]:
    given = ["run", "--skill", "travel", "--bag", bag, "--bundle", suite.three_models, *words]
    suite.replay(*given, "--output", output)
    report: dict[str, Any] = json.loads((output / "report.json").read_text())
    return report


@pytest.mark.ros
def test_a_node_is_asked_for_each_answer_and_reset_before_each_turn(
    suite: Suite, bag: Path, tmp_path: Path
) -> None:
    report = replayed(suite, bag, tmp_path / "out", "--rate", 10, "--seconds", 1.5)
    assert report["playback"]["published"] == report["playback"]["answered"] == 15
    assert report["playback"]["rejected"] == 0
    metrics = report["score"]["metrics"]
    assert metrics["turns"] == 3
    assert metrics["messages"] >= 15
    # Each turn found the way of its own images alone; a request that overtook its image counts.
    assert 5 <= metrics["images of a whole way"] < 7
    assert metrics["focal length [px]"] == 300
    # The third turn's, under the stamps of the recording.
    assert metrics["images kept"] == 5
    assert (tmp_path / "out" / "kept" / "stamps.txt").is_file()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "the way of 5 images" in page
    assert "labelled" not in page


@pytest.mark.ros
def test_the_same_node_answers_every_frame(suite: Suite, bag: Path, tmp_path: Path) -> None:
    report = replayed(suite, bag, tmp_path / "out", "--param", "mode:=continuous", "--seconds", 0.5)
    assert report["playback"]["answered"] == report["playback"]["published"] == 10
    metrics = report["score"]["metrics"]
    assert (metrics["turns"], metrics["messages"]) == (2, 10)
    assert metrics["images of a whole way"] == 5
    assert report["node"]["update file"] == "update/fp32.onnx"
    said = suite.replay("show", tmp_path / "out").splitlines()
    assert ["provider", "cpu"] in [line.split() for line in said]


@pytest.mark.ros
def test_images_that_cannot_be_answered_on_request_are_said_why(
    suite: Suite, tmp_path: Path
) -> None:
    make = CameraMessages(TYPES, "camera")
    good = make.bgr(np.eye(20, dtype=np.uint8)[..., None].repeat(3, 2), SECOND)
    bad = make.bgr(np.zeros((2, 2, 3), np.uint8), 2 * SECOND)
    bad.encoding = "odd8"
    write(tmp_path / "bag", [("/image", good), ("/image", bad)])
    report = replayed(suite, tmp_path / "bag", tmp_path / "out")
    assert report["playback"]["answered"] == 1
    assert any(
        note.startswith("1 frames were not answered on request: ") and "'odd8'" in note
        for note in report["notes"]
    ), report["notes"]
    # One image is no way that the node could save.
    assert "nothing was saved: /travel/keep failed: there is no way yet" in report["notes"]
    assert not (tmp_path / "out" / "kept").exists()


def test_a_recording_keeps_its_truth_and_transforms(tmp_path: Path) -> None:
    make = CameraMessages(TYPES, "camera")
    poses = [(0, [0, 0, 0, 0, 0, 0, 1]), (2, [3, 4, 0, 0, 0, 0, 2]), (1, [np.nan] * 7)]
    poses += [(3, [3, 4, 0, 0, 0, 0, 0])]
    messages = [
        ("/ground_truth/pose", make.pose(np.array(pose, float), "world", (1 + place) * SECOND))
        for place, pose in poses
    ]
    kinds = TYPES.types
    link = kinds["geometry_msgs/msg/TransformStamped"](
        messages[0][1].header,
        "camera",
        kinds["geometry_msgs/msg/Transform"](
            kinds["geometry_msgs/msg/Vector3"](1.0, 2.0, 3.0), messages[0][1].pose.orientation
        ),
    )
    messages.append(("/tf", kinds["tf2_msgs/msg/TFMessage"]([link])))
    messages.append(("/tf_static", kinds["tf2_msgs/msg/TFMessage"]([link, link])))
    write(
        tmp_path / "bag", [("/image", make.bgr(np.zeros((2, 2, 3), np.uint8), SECOND)), *messages]
    )
    recording = Recording(tmp_path / "bag", [Input("image", "colour")], {})
    assert recording.truth is not None
    assert recording.truth.stamps.tolist() == [SECOND, 3 * SECOND]
    assert recording.truth.lost.tolist() == [2 * SECOND, 4 * SECOND]
    assert recording.truth.length == 5
    assert [t.child_frame_id for t in recording.transforms] == ["camera"] * 3
    write(tmp_path / "bare", [("/image", make.bgr(np.zeros((2, 2, 3), np.uint8), SECOND))])
    bare = Recording(tmp_path / "bare", [Input("image", "colour")], {})
    assert bare.truth is None
    assert bare.transforms == []


def test_the_cameras_of_a_pair_are_told_apart_by_name(tmp_path: Path) -> None:
    make = CameraMessages(TYPES, "camera")
    image = make.bgr(np.zeros((2, 2, 3), np.uint8), SECOND)
    inputs = [Input("image", "colour"), Input("right/image", "right colour", required=False)]
    for number, names in enumerate(
        [("/cam0/image_raw", "/cam1/image_raw"), ("/camera/infra1", "/camera/infra2")]
    ):
        write(tmp_path / str(number), [(name, image) for name in names])
        found = Recording(tmp_path / str(number), inputs, {})
        assert [topic.name for topic in found.topics.values()] == list(names)
        (frame,) = found.frames()
        assert [role for role, _ in frame.messages] == ["right/image", "image"]


def write(path: Path, messages: list[tuple[str, Any]]) -> None:
    with Writer(path, version=8) as writer:
        connections: dict[str, Any] = {}
        for index, (topic, message) in enumerate(messages):
            type_ = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, type_, typestore=TYPES)
            time = SECOND + index * SECOND // 10
            writer.write(connections[topic], time, TYPES.serialize_cdr(message, type_))
