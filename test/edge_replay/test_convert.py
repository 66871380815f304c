"""Folders of images become bags that say the same."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from edge_replay.bags import Recording
from edge_replay.convert import convert
from edge_replay.datasets.layouts import open_sequence
from edge_runtime.errors import SettingError
from edge_runtime.images import to_bgr
from edge_runtime.interface import Input

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


@pytest.mark.parametrize(
    ("name", "size", "stamps"),
    [
        ("nan_truth", (32, 24), [1305031102175304000 + k * 33_000_000 for k in range(4)]),
        ("seq-02", (64, 48), [10**9, 1_033_333_333, 1_066_666_667, 1_100_000_000]),
    ],
)
def test_depth_camera_and_poses_come_along(
    shared_data: Path, tmp_path: Path, name: str, size: tuple[int, int], stamps: list[int]
) -> None:
    folder = shared_data / "field" / "datasets" / name
    done = convert(folder, tmp_path / "bag")
    assert (done.images, done.depths, done.poses) == (4, 4, 3)
    lost = "1 of 12" if name == "nan_truth" else "1 of 4"
    assert f"1 of 4 frames are without ground truth; {lost} poses are lost" in done.notes[-1]
    sequence = open_sequence(folder)
    messages = _messages(tmp_path / "bag")
    images, depths = messages["/camera/image"], messages["/camera/depth/image"]
    assert [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in images] == stamps
    for index, (image, depth) in enumerate(zip(images, depths, strict=True)):
        np.testing.assert_array_equal(to_bgr(image), sequence.bgr(index))
        assert image.header == depth.header
        assert (depth.encoding, depth.width, depth.height) == ("32FC1", *size)
        metres = np.frombuffer(depth.data, "<f4").reshape(depth.height, depth.width)
        np.testing.assert_array_equal(metres, sequence.depth(index))
    info = messages["/camera/camera_info"][0]
    assert (info.width, info.height) == size
    camera = sequence.camera
    assert info.k[0] / info.width == pytest.approx(camera.matrix[0, 0] / camera.width)
    # The centre of the image stays the centre.
    middle = (camera.matrix[0, 2] + 0.5) / camera.width
    assert (info.k[2] + 0.5) / info.width == pytest.approx(middle)
    poses = messages["/ground_truth/pose"]
    truth = sequence.ground_truth
    assert truth is not None
    frames, places = truth.nearest(sequence.stamps)
    for pose, frame, place in zip(poses, frames, places, strict=True):
        assert pose.header.frame_id == "world"
        assert pose.header.stamp == images[frame].header.stamp
        position, turn = pose.pose.position, pose.pose.orientation
        found = [position.x, position.y, position.z, turn.x, turn.y, turn.z, turn.w]
        assert found == truth.poses[place].tolist()


def test_distortion_comes_along_and_cut_images_have_no_camera(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    for name, size in {"whole": (48, 64), "cut": (32, 64)}.items():
        cv2.imwrite(str(folder / f"{name}.png"), np.zeros((*size, 3), np.uint8))
    (folder / "rgb.txt").write_text("1.0 whole.png\n2.0 cut.png")
    (folder / "intrinsics.txt").write_text("50 51 31.5 23.5 64 48 0 .1 -.02 0 0 0 0 0 0")
    done = convert(folder, tmp_path / "bag")
    (info,) = _messages(tmp_path / "bag")["/camera/camera_info"]
    assert (info.distortion_model, info.d[:2].tolist()) == ("rational_polynomial", [0.1, -0.02])
    assert info.k.tolist() == [50, 0, 31.5, 0, 51, 23.5, 0, 0, 1]
    assert done.notes == ("no camera info for images of 64x32: the camera's are 64x48",)


def test_a_folder_lacking_its_calibration_gives_its_images(
    shared_data: Path, tmp_path: Path
) -> None:
    done = convert(shared_data / "field" / "datasets" / "tum_vi_like", tmp_path / "bag")
    assert (done.images, done.poses) == (3, 0)
    assert list(_messages(tmp_path / "bag")) == ["/camera/image"]
    assert "no camera matrix" in done.notes[0]
    assert "cam0 has no sensor.yaml" in done.notes[1]


def test_plain_images_come_by_number_without_depth_and_masks(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        image = np.full((24, 32, 3), number, np.uint8)
        for name in ("img.{}", "depth_{}", "img.{}_mask", "Segmentation{}", "._img.{}"):
            cv2.imwrite(str(folder / f"{name.format(number)}.png"), image)
        cv2.imwrite(str(folder / f"{number}d.png"), image[..., 0].astype(np.uint16))
    done = convert(folder, tmp_path / "bag")
    images = _messages(tmp_path / "bag")["/camera/image"]
    assert [int(to_bgr(image)[0, 0, 0]) for image in images] == list(range(12))
    assert "48 images are left out: depth or masks, by their names or 16 bits" in done.notes
    for path in folder.glob("*img*"):
        path.unlink()
    assert convert(folder, tmp_path / "deep").images == 12  # now of a camera with 16 bits
    for path in folder.glob("*d.png"):
        path.unlink()
    with pytest.raises(SettingError, match=r"no colour images, but 24 that are depth or masks"):
        convert(folder, tmp_path / "again")


def test_ndds_labels_and_camera_are_read(suite: Suite, tmp_path: Path) -> None:
    folder = tmp_path / "dream"
    folder.mkdir()
    for k in range(3):
        for kind in ("rgb", "cs"):
            picture = np.zeros((48, 64, 3), np.uint8)
            cv2.imwrite(str(folder / f"{k:06d}.{kind}.jpg"), picture)
        points = {"base": [10.5 + k, 20], "tip": [63.6, 5]}  # the second is beside the picture
        keypoints = [
            {"name": n, "location": [0, 0, 1], "projected_location": p} for n, p in points.items()
        ]
        objects = [{"class": "table"}, {"class": "arm", "keypoints": keypoints}]
        (folder / f"{k:06d}.json").write_text(json.dumps({"objects": objects}))
    size = {"width": 64, "height": 48}
    camera = {
        "intrinsic_settings": {"fx": 9, "fy": 8, "cx": 7, "cy": 6},
        "captured_image_size": size,
    }
    (folder / "_camera_settings.json").write_text(json.dumps({"camera_settings": [camera]}))
    said = suite.replay("convert", folder, tmp_path / "bag", "--skill", "pose")
    assert "3 images, with labels" in said
    assert "note: 3 pictures of masks or depth are left out" in said
    assert _messages(tmp_path / "bag")["/camera/camera_info"][0].k[:6].tolist() == [
        9,
        0,
        7,
        0,
        8,
        6,
    ]
    labels = json.loads((tmp_path / "bag" / "labels.json").read_text())
    assert labels["names"] == ["base", "tip"]
    assert [f["keypoints"] for f in labels["frames"]] == [[[10.5 + k, 20], None] for k in range(3)]


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


def test_16_bit_grey_stays_a_picture_in_its_own_file(tmp_path: Path) -> None:
    folder = tmp_path / "grey"
    folder.mkdir()
    picture = np.full((48, 64), 4000, np.uint16)
    cv2.imwrite(str(folder / "0.png"), picture)

    convert(folder, tmp_path / "bag", compressed=True)

    recording = Recording(tmp_path / "bag", [Input("image", "colour")], {})
    assert recording.topics["image"].name == "/camera/image/compressed"
