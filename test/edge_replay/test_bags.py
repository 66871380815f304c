"""Recordings become frames: topics by type, camera info before its image, depth beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from edge_replay.bags import Recording
from edge_replay.cdr import restamped, stamp_of
from edge_replay.run import RunOptions
from edge_runtime.errors import SettingError
from edge_runtime.interface import Input

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TYPES = get_typestore(Stores.ROS2_HUMBLE)
IMAGE, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"
INPUTS = (
    Input("color", "colour"),
    Input("camera_info", "camera_info", of="color"),
    Input("depth", "depth", required=False),
)
MS = 1_000_000


def _header(stamp: int) -> Any:  # noqa: ANN401
    time = TYPES.types["builtin_interfaces/msg/Time"](*divmod(stamp, 10**9))
    return TYPES.types["std_msgs/msg/Header"](time, "camera")


def _image(stamp: int, encoding: str) -> Any:  # noqa: ANN401
    size = {"rgb8": 3, "16UC1": 2, "32FC2": 8}[encoding]
    data = np.zeros(4 * 6 * size, np.uint8)
    return TYPES.types[IMAGE](_header(stamp), 4, 6, encoding, 0, 6 * size, data)


def _info(stamp: int, focal: float) -> Any:  # noqa: ANN401
    region = TYPES.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, do_rectify=False)
    k = np.array([focal, 0, 3, 0, focal, 2, 0, 0, 1], np.float64)
    return TYPES.types[INFO](
        _header(stamp), 4, 6, "plumb_bob", np.zeros(5), k, np.zeros(9), np.zeros(12), 0, 0, region
    )  # fmt: skip


def _write(path: Path, messages: Sequence[tuple[int, str, Any]]) -> Path:
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections: dict[str, Any] = {}
        for time, topic, message in messages:
            type_ = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, type_, typestore=TYPES)
            writer.write(connections[topic], time, TYPES.serialize_cdr(message, type_))
    return path


def _rgbd(path: Path) -> Path:
    """Three colour images 30 ms apart; depth 4 ms off, recorded later, and none for the last."""
    return _write(
        path,
        [
            (1000 * MS, "/rgb/image_raw", _image(100 * MS, "rgb8")),
            (1001 * MS, "/rgb/camera_info", _info(100 * MS, 300.0)),
            (1020 * MS, "/depth/image_raw", _image(104 * MS, "16UC1")),
            (1021 * MS, "/depth/camera_info", _info(104 * MS, 500.0)),
            (1030 * MS, "/rgb/image_raw", _image(130 * MS, "rgb8")),
            (1031 * MS, "/rgb/camera_info", _info(130 * MS, 301.0)),
            (1050 * MS, "/depth/image_raw", _image(134 * MS, "16UC1")),
            (1060 * MS, "/rgb/image_raw", _image(160 * MS, "rgb8")),
        ],
    )


def test_depth_is_paired_and_camera_info_comes_first(tmp_path: Path) -> None:
    recording = Recording(_rgbd(tmp_path / "bag"), INPUTS, {})
    frames = list(recording.frames())
    assert [f.stamp // MS for f in frames] == [100, 130, 160]
    assert [[role for role, _ in f.messages] for f in frames] == [
        ["camera_info", "depth", "color"],
        ["camera_info", "depth", "color"],
        ["camera_info", "color"],
    ]
    assert [stamp_of(dict(f.messages)["depth"]) // MS for f in frames[:2]] == [104, 134]
    # The first image was recorded before any camera info; the third has none of its own.
    infos: list[Any] = [TYPES.deserialize_cdr(f.messages[0][1], INFO) for f in frames]
    assert [info.k[0] for info in infos] == [300.0, 300.0, 301.0]


@pytest.mark.parametrize(("slop", "paired"), [("0.003", []), ("4e-3", [0, 1]), ("1", [0, 1, 2])])
def test_depth_is_paired_as_the_node_is_told(tmp_path: Path, slop: str, paired: list[int]) -> None:
    settings = RunOptions(tmp_path, tmp_path, parameters={"slop": slop})
    recording = Recording(_rgbd(tmp_path / "bag"), INPUTS, {}, settings.slop)
    frames = [dict(frame.messages) for frame in recording.frames()]
    assert [k for k, messages in enumerate(frames) if "depth" in messages] == paired


def test_topics_are_chosen_by_the_user_where_types_do_not_tell(tmp_path: Path) -> None:
    bag = _write(
        tmp_path / "bag",
        [
            (1, "/left/image", _image(1, "rgb8")),
            (2, "/right/image", _image(1, "rgb8")),
            (3, "/right/camera_info", _info(1, 300.0)),
        ],
    )
    with pytest.raises(SettingError, match=r"/left/image \(1 x 6x4 rgb8\), /right/image.*--topic"):
        Recording(bag, INPUTS, {})
    with pytest.raises(SettingError, match=r"it has /left/image .*, /right/image"):
        Recording(bag, INPUTS, {"color": "/middle/image"})
    with pytest.raises(SettingError, match="no input 'colour'; its inputs are color, camera_info"):
        Recording(bag, INPUTS, {"colour": "/left/image"})
    recording = Recording(bag, INPUTS, {"color": "right/image"})
    assert {r: t.name for r, t in recording.topics.items()} == {
        "color": "/right/image",
        "camera_info": "/right/camera_info",
    }


def test_a_single_camera_is_never_the_right_one_of_a_pair(tmp_path: Path) -> None:
    pair = (
        *INPUTS,
        Input("right/image", "right colour", required=False),
        Input("right/camera_info", "camera_info", required=False, of="right/image"),
    )
    single = [(1, "/cam/camera_info", _info(1, 1.0)), (2, "/cam/image", _image(1, "rgb8"))]
    recording = Recording(_write(tmp_path / "one", single), pair, {})
    assert set(recording.topics) == {"color", "camera_info"}
    assert len(list(recording.frames())) == 1
    right = [(3, "/right/camera_info", _info(1, 2.0)), (4, "/right/image", _image(1, "rgb8"))]
    recording = Recording(_write(tmp_path / "two", [*single, *right]), pair, {})
    names = {role: topic.name for role, topic in recording.topics.items()}
    assert names["color"] == "/cam/image"
    assert names["right/camera_info"] == "/right/camera_info"
    assert names["right/image"] == "/right/image"


def test_what_a_bag_lacks_is_said(tmp_path: Path) -> None:
    bag = _write(tmp_path / "bag", [(1, "/depth", _image(1, "16UC1"))])
    with pytest.raises(SettingError, match=r"nothing for the input 'color' .*it has /depth"):
        Recording(bag, INPUTS, {})
    with pytest.raises(SettingError, match="does not exist"):
        Recording(tmp_path / "none", INPUTS, {})
    broken = tmp_path / "broken.bag"
    broken.write_text("#ROSBAG V2.0\n and nothing more")
    with pytest.raises(SettingError, match=r"broken\.bag cannot be read .*`rosbag reindex"):
        Recording(broken, INPUTS, {})


def test_ros_1_and_ros_2_form_of_a_recording_are_the_same(shared_data: Path) -> None:
    inputs = (Input("image", "colour"), Input("camera_info", "camera_info", of="image"))
    bags = shared_data / "bags"
    new = Recording(bags / "fiducial_board_611", inputs, {})
    old = Recording(bags / "fiducial_board_611.bag", inputs, {})
    assert new.compressed
    assert new.images == old.images == 1
    assert new.digest != old.digest
    for (role, message), (old_role, old_message) in zip(
        next(new.frames()).messages, next(old.frames()).messages, strict=True
    ):
        type_ = INFO if role == "camera_info" else "sensor_msgs/msg/CompressedImage"
        assert role == old_role
        a, b = (TYPES.deserialize_cdr(m, type_) for m in (message, old_message))
        assert repr(a) == repr(b)


def test_a_new_stamp_changes_nothing_else() -> None:
    message = bytes(TYPES.serialize_cdr(_image(123_456_789_012, "rgb8"), IMAGE))
    moved = restamped(message, 9_876_543_210_987)
    assert stamp_of(message) == 123_456_789_012
    assert stamp_of(moved) == 9_876_543_210_987
    assert restamped(moved, 123_456_789_012) == message


@pytest.mark.parametrize(
    ("name", "transports"),
    [
        ("bayer_compressed", {"color": "compressed"}),
        ("colour_and_depth_png", {"color": "compressed", "depth": "compressed"}),
        ("colour_and_compressed_depth", {"color": "compressed", "depth": "compressedDepth"}),
        ("depth_of_other_size", {"color": "raw", "camera_info": "raw", "depth": "raw"}),
    ],
)
def test_colour_and_depth_are_told_apart_by_what_is_inside(
    shared_data: Path, name: str, transports: dict[str, str]
) -> None:
    inputs = (INPUTS[0], replace(INPUTS[1], required=False), INPUTS[2])
    recording = Recording(shared_data / "field" / "bags" / name, inputs, {})
    assert {role: topic.transport for role, topic in recording.topics.items()} == transports
    assert recording.notes == []


def _compressed(stamp: int, form: str, data: bytes) -> Any:  # noqa: ANN401
    array = np.frombuffer(data, np.uint8)
    return TYPES.types["sensor_msgs/msg/CompressedImage"](_header(stamp), form, array)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    bag = _write(
        tmp_path / "bag",
        [
            (1, "/rgb/image", _image(1, "rgb8")),
            (1, "/rgb/image/compressed", _compressed(1, "rgb8; jpeg compressed bgr8", b"\xff\xd8")),
            (1, "/depth/image/compressed", _compressed(1, "16UC1; jpeg compressed ", b"\xff\xd8")),
            (1, "/depth/image/compressedDepth", _compressed(1, "16UC1; compressedDepth png", b"")),
            (1, "/video", _compressed(1, "h264", b"\0\0\0\1")),
            (1, "/flow", _image(1, "32FC2")),
            (1, "/rgb/camera_info", _info(1, 300.0)),
        ],
    )
    recording = Recording(bag, INPUTS, {})
    assert {role: topic.name for role, topic in recording.topics.items()} == {
        "color": "/rgb/image",
        "camera_info": "/rgb/camera_info",
        "depth": "/depth/image/compressedDepth",
    }
    assert len(recording.notes) == 4
    for topic, reason in [
        ("/rgb/image/compressed", "/rgb/image has the same images"),
        ("/depth/image/compressed", "depth in a codec that spoils it"),
        ("/video", "JPEG, PNG"),
        ("/flow", "'32FC2'"),
    ]:
        assert any(f"left out: {topic} (1 x" in n and reason in n for n in recording.notes)
    chosen = Recording(bag, INPUTS, {"color": "/rgb/image/compressed"})
    assert chosen.topics["color"].transport == "compressed"
    with pytest.raises(SettingError, match=r"--topic color=/video.*h264.*JPEG, PNG"):
        Recording(bag, INPUTS, {"color": "/video"})
