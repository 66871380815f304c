"""Folders of images become bags that say the same."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from edge_replay.convert import convert
from edge_runtime.errors import SettingError
from edge_runtime.images import to_bgr

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Suite


def _messages(bag: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    with AnyReader([bag]) as reader:
        for connection, time, raw in reader.messages():
            message: Any = reader.deserialize(raw, connection.msgtype)
            stamp = message.header.stamp
            assert stamp.sec * 10**9 + stamp.nanosec == time
            found.setdefault(connection.topic, []).append(message)
    return found


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize("compressed", [False, True])
def test_bag_holds_the_pixels_the_labels_and_the_camera(
    suite: Suite, folder: Path, tmp_path: Path, storage: str, *, compressed: bool
) -> None:
    bag = tmp_path / "made" / "bag"
    words = ["--compressed"] if compressed else []
    suite.replay(
        "convert", folder, bag, "--skill", "spot", "--rate", 4, "--storage", storage, *words
    )
    messages = _messages(bag)
    images = messages["/camera/image/compressed" if compressed else "/camera/image"]
    for path, message in zip(sorted(folder.glob("*.png")), images, strict=True):
        np.testing.assert_array_equal(to_bgr(message), cv2.imread(str(path)))
    stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in images]
    assert set(np.diff(stamps)) == {250_000_000}
    infos = messages["/camera/camera_info"]
    assert [(i.height, i.width, i.k[0]) for i in infos] == [(120, 160, 300.0)] * 5
    labels = json.loads((bag / "labels.json").read_text())
    assert [f["stamp"] for f in labels["frames"]] == stamps


@pytest.mark.parametrize("compressed", [False, True])
def test_an_orientation_in_the_file_turns_nothing(tmp_path: Path, *, compressed: bool) -> None:
    """Labels and camera matrix are those of the sensor's rows and columns; so are the pixels."""
    folder = tmp_path / "phone"
    folder.mkdir()
    photo = folder / "0.jpg"
    jpeg = cv2.imencode(".jpg", np.zeros((40, 60, 3), np.uint8))[1].tobytes()
    # TIFF header, one entry: tag 0x112 (orientation), SHORT, one value, 6 (a quarter turn).
    exif = b"Exif\0\0" + struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x112, 3, 1, 6, 0, 0)
    photo.write_bytes(jpeg[:2] + struct.pack(">HH", 0xFFE1, len(exif) + 2) + exif + jpeg[2:])
    turned = cv2.imread(str(photo))
    assert turned is not None
    assert turned.shape == (60, 40, 3)

    camera = (50.0, 50.0, 30.0, 20.0)
    convert(folder, tmp_path / "bag", 10.0, camera=camera, compressed=compressed)
    messages = _messages(tmp_path / "bag")
    (image,) = messages["/camera/image/compressed" if compressed else "/camera/image"]
    (info,) = messages["/camera/camera_info"]
    assert to_bgr(image).shape == (info.height, info.width, 3) == (40, 60, 3)


def test_times_of_a_tum_folder_are_kept_to_the_nanosecond(folder: Path, tmp_path: Path) -> None:
    (folder / "rgb.txt").write_text(
        "# timestamp path\n1305031102.175304123 01.png\n1305031102.5 00.png\n"
    )
    done = convert(folder, tmp_path / "bag", rate=10.0)
    images = _messages(tmp_path / "bag")["/camera/image"]
    assert (images[0].header.stamp.sec, images[0].header.stamp.nanosec) == (1305031102, 175304123)
    assert images[1].header.stamp.nanosec == 500_000_000
    assert done.images == 2
    assert "no camera matrix" in done.notes[0]


def test_refusals_name_the_remedy_and_leave_nothing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="exists already: choose another name"):
        convert(folder, folder, rate=10.0)
    with pytest.raises(SettingError, match=r"00\.png is a file; give a name in a folder"):
        convert(folder, folder / "00.png" / "bag", rate=10.0)
    (folder / "03.png").write_bytes(b"not an image")
    with pytest.raises(SettingError, match=r"03\.png cannot be read"):
        convert(folder, tmp_path / "bag", rate=10.0)
    (folder / "03.png").unlink()
    (folder / "03.png").mkdir()
    with pytest.raises(SettingError, match=r"03\.png cannot be read \(Is a directory\)"):
        convert(folder, tmp_path / "bag", rate=10.0)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SettingError, match=r"holds no \.png or \.jpg images"):
        convert(empty, tmp_path / "bag", rate=10.0)
    assert not [path for path in tmp_path.iterdir() if "bag" in path.name]
