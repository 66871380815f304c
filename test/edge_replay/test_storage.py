"""Recordings as people have them: damaged, cut off, edited, or with more than images in them."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from edge_replay.bags import Recording
from edge_runtime.errors import SettingError
from edge_runtime.interface import Input

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rosbags.typesys.store import Typestore

ROS1, ROS2 = get_typestore(Stores.ROS1_NOETIC), get_typestore(Stores.ROS2_HUMBLE)
IMAGE = "sensor_msgs/msg/Image"
INPUTS = (Input("image", "colour"), Input("depth", "depth", required=False))
COUNT = 8
STAMPS = [1_700_000_000_000_000_000 + 100_000_000 * index for index in range(COUNT)]


@pytest.mark.parametrize(
    ("name", "images", "note"),
    [
        ("edited_qos", 8, None),
        ("empty_storage_id", 8, None),
        ("json_beside.mcap", 8, None),
        ("no_end.mcap", 8, "`mcap recover no_end.mcap"),
        ("bad_chunk.mcap", 4, "chunk at byte 4008 is damaged .*`mcap recover bad_chunk.mcap"),
    ],
)
def test_recordings_from_the_field_play_as_far_as_they_go(
    shared_data: Path, name: str, images: int, note: str | None
) -> None:
    recording = Recording(shared_data / "field" / "bags" / name, INPUTS, {})
    assert recording.images == len(list(recording.frames())) == images
    assert len(recording.notes) == (note is not None)
    assert note is None or re.search(note, recording.notes[0])


def test_an_unindexed_bag_gets_the_remedy_of_ros_1(shared_data: Path) -> None:
    with pytest.raises(SettingError, match=r"not indexed.*`rosbag reindex unindexed\.bag`"):
        Recording(shared_data / "field" / "bags" / "unindexed.bag", INPUTS, {})


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize("mode", list(CompressionMode))
def test_every_way_of_writing_a_bag_gives_the_same_frames(
    tmp_path: Path, storage: StoragePlugin, mode: CompressionMode
) -> None:
    if storage is StoragePlugin.SQLITE3 and mode is CompressionMode.STORAGE:
        pytest.skip("SQLite does not compress")
    bag = _bag(tmp_path / "bag", storage, mode)
    assert _frames(bag) == [(stamp, _cdr(stamp)) for stamp in STAMPS]
    assert Recording(bag, INPUTS, {}).notes == []


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_recorder_that_was_killed_costs_what_it_had_not_written(
    tmp_path: Path, share: float
) -> None:
    whole = next(_bag(tmp_path / "bag", StoragePlugin.MCAP).glob("*.mcap")).read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole[: int(share * len(whole))])
    recording = Recording(cut, INPUTS, {})
    assert share * COUNT - 2 < recording.images <= COUNT
    assert _frames(cut) == [(stamp, _cdr(stamp)) for stamp in STAMPS[: recording.images]]
    assert len(recording.notes) == 1
    assert "`mcap recover cut.mcap" in recording.notes[0]


def test_topics_of_other_encodings_are_no_matter(tmp_path: Path) -> None:
    """Binary schemas, definitions that the recorder did not find, messages of ROS 1, no profile."""
    ros1 = [bytes(ROS1.serialize_ros1(_image(ROS1, stamp), IMAGE)) for stamp in STAMPS]
    others = [
        _schema(1, "foxglove.Log", "protobuf", b"\xff\xfe\x80"),
        _channel(1, 1, "/log", "protobuf"),
        *(_message(1, stamp, b"\xff") for stamp in STAMPS),
    ]
    ours: dict[str, list[bytes]] = {
        "cdr": [_schema(2, IMAGE, "unknown", b""), _channel(2, 2, "/image", "cdr")]
        + [_message(2, stamp, _cdr(stamp)) for stamp in STAMPS],
        "ros1": [_schema(2, "sensor_msgs/Image", "ros1msg", b""), _channel(2, 2, "/i", "ros1")]
        + [_message(2, stamp, raw) for stamp, raw in zip(STAMPS, ros1, strict=True)],
    }
    for encoding, records in ours.items():
        file = _mcap(tmp_path / f"{encoding}.mcap", others + records)
        assert _frames(file) == [(stamp, _cdr(stamp)) for stamp in STAMPS], encoding
    with pytest.raises(SettingError, match=r"no images at all; .*/log \(protobuf foxglove\.Log\)"):
        Recording(_mcap(tmp_path / "others.mcap", others), INPUTS, {})


def _without_metadata(bag: Path) -> None:
    (bag / "metadata.yaml").unlink()


def _with_broken_metadata(bag: Path) -> None:
    (bag / "metadata.yaml").write_text("rosbag2_bagfile_information: [\n")


def _renamed(bag: Path) -> None:
    next(bag.glob("*.db3")).rename(bag / "kitchen.db3")


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (_without_metadata, "has no metadata.yaml: `ros2 bag reindex"),
        (_with_broken_metadata, "metadata.yaml of .* is damaged: `ros2 bag reindex"),
        (_renamed, "lacks bag.db3"),
    ],
)
def test_metadata_is_a_help_and_not_needed(
    tmp_path: Path, change: Callable[[Path], None], note: str
) -> None:
    bag = _bag(tmp_path / "bag", StoragePlugin.SQLITE3)
    change(bag)
    (said,) = Recording(bag, INPUTS, {}).notes
    assert re.search(note, said)
    assert _frames(bag) == [(stamp, _cdr(stamp)) for stamp in STAMPS]


def test_a_write_ahead_log_belongs_to_its_database(tmp_path: Path) -> None:
    file = next(_bag(tmp_path / "bag", StoragePlugin.SQLITE3).glob("*.db3"))
    killed = tmp_path / "killed.db3"
    recorder = sqlite3.connect(killed)
    recorder.executescript("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;")
    recorder.executescript("\n".join(sqlite3.connect(file).iterdump()))
    alone, beside = tmp_path / "alone.db3", tmp_path / "beside.db3"
    shutil.copy(killed, alone)
    shutil.copy(killed, beside)
    shutil.copy(f"{killed}-wal", f"{beside}-wal")
    recorder.close()
    assert _frames(beside) == [(stamp, _cdr(stamp)) for stamp in STAMPS]
    with pytest.raises(SettingError, match=r"leaves them in alone\.db3-wal"):
        Recording(alone, INPUTS, {})


def _refused(folder: Path) -> dict[str, tuple[Path, str]]:
    """Return case -> what cannot be played, and the line that it gets."""
    contents = {
        "pointer.bag": (b"version https://git-lfs.github.com/spec/v1\n", "`git lfs pull`"),
        "page.mcap": (b"<!DOCTYPE html>", "web page"),
        "nothing.db3": (b"", "it is empty"),
        "text.bag": (b"hello", "begins with none of the marks"),
        "header.db3": (b"SQLite format 3\0" + b"\xaa" * 200, r"damaged .*`sqlite3 header\.db3"),
        "half.bag": (_ros1_bag(folder / "half.bag", 0.5), r"`rosbag reindex half\.bag`"),
    }
    cases = {}
    for name, (data, line) in contents.items():
        (folder / name).write_bytes(data)
        cases[name] = folder / name, line
    brotli = [_schema(1, IMAGE, "ros2msg", b""), _channel(1, 1, "/image", "cdr")]
    file = _mcap(folder / "brotli.mcap", [_chunk("brotli", b"".join(brotli))])
    cases["compression"] = file, r"'brotli', but zstd, lz4 .*`mcap compress --compression zstd"
    for name, storage in (("empty_sqlite", "SQLITE3"), ("empty_mcap", "MCAP")):
        bag = _bag(folder / name, StoragePlugin[storage], stamps=())
        cases[name] = bag, "it holds no messages"
    os.mkfifo(folder / "pipe.bag")
    cases["pipe"] = folder / "pipe.bag", "is no file"
    return cases


def test_what_cannot_be_played_gets_one_line_about_the_file(tmp_path: Path) -> None:
    for name, (path, line) in _refused(tmp_path).items():
        with pytest.raises(SettingError, match=line) as caught:
            Recording(path, INPUTS, {})
        assert str(path) in str(caught.value), name
        assert not re.search(r"\b[A-Z]\w+(Error|Exception)\b", str(caught.value)), name


def test_damage_inside_a_ros_1_bag_costs_what_follows(tmp_path: Path) -> None:
    file = tmp_path / "rotten.bag"
    data = bytearray(_ros1_bag(file))
    data[len(data) // 2 : len(data) // 2 + 3000] = b"\x55" * 3000
    file.write_bytes(data)
    recording = Recording(file, INPUTS, {})
    assert 0 < recording.images < COUNT
    assert "`rosbag reindex rotten.bag`" in recording.notes[0]


def _frames(path: Path) -> list[tuple[int, bytes]]:
    return [(frame.stamp, frame.image) for frame in Recording(path, INPUTS, {}).frames()]


def _image(types: Typestore, stamp: int) -> Any:  # noqa: ANN401
    time = types.types["builtin_interfaces/msg/Time"](*divmod(stamp, 10**9))
    header = types.types["std_msgs/msg/Header"]
    fields = (time, "camera") if types is ROS2 else (0, time, "camera")
    data = np.random.default_rng(stamp).integers(0, 255, 24 * 96, np.uint8)
    return types.types[IMAGE](header(*fields), 24, 32, "rgb8", 0, 96, data)


def _cdr(stamp: int) -> bytes:
    return bytes(ROS2.serialize_cdr(_image(ROS2, stamp), IMAGE))


def _bag(
    path: Path,
    storage: StoragePlugin,
    mode: CompressionMode = CompressionMode.NONE,
    stamps: Any = STAMPS,  # noqa: ANN401
) -> Path:
    writer = Writer(path, version=9, storage_plugin=storage)
    if mode is not CompressionMode.NONE:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/image", IMAGE, typestore=ROS2)
        for stamp in stamps:
            writer.write(connection, stamp, _cdr(stamp))
    return path


def _ros1_bag(path: Path, share: float = 1.0) -> bytes:
    with Ros1Writer(path) as writer:
        connection = writer.add_connection("/image", IMAGE, typestore=ROS1)
        for stamp in STAMPS:
            raw = ROS1.serialize_ros1(_image(ROS1, stamp), IMAGE)
            writer.write(connection, stamp, raw)
    data = path.read_bytes()
    return data[: int(share * len(data))]


def _mcap(path: Path, records: list[bytes]) -> Path:
    """Write a file without index, as https://mcap.dev/spec has it."""
    magic = b"\x89MCAP0\r\n"
    head = _record(1, _string(b"") + _string(b"test"))
    end = _record(15, bytes(4)) + _record(2, bytes(20))
    path.write_bytes(b"".join((magic, head, *records, end, magic)))
    return path


def _record(opcode: int, content: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(content)) + content


def _string(text: bytes) -> bytes:
    return struct.pack("<I", len(text)) + text


def _schema(key: int, name: str, encoding: str, data: bytes) -> bytes:
    strings = b"".join(map(_string, (name.encode(), encoding.encode(), data)))
    return _record(3, struct.pack("<H", key) + strings)


def _channel(key: int, schema: int, topic: str, encoding: str) -> bytes:
    strings = _string(topic.encode()) + _string(encoding.encode())
    return _record(4, struct.pack("<HH", key, schema) + strings + bytes(4))


def _message(channel: int, time: int, data: bytes) -> bytes:
    return _record(5, struct.pack("<HIQQ", channel, 0, time, time) + data)


def _chunk(compression: str, data: bytes) -> bytes:
    head = struct.pack("<QQQI", 0, 0, len(data), 0) + _string(compression.encode())
    return _record(6, head + struct.pack("<Q", len(data)) + data)
