"""A stereo folder of EuRoC becomes a bag whose pairs the node can rectify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip("numba", reason="numba comes with the extra [slam]")
pytest.importorskip("rosbags", reason="rosbags comes with the extra [replay]")

from rosbags.typesys import Stores, get_typestore

from compressed_slam.interface import IMAGE, RIGHT, SLAM
from compressed_slam.offline.replaying import node_parameters
from compressed_slam.rig import Rig
from edge_replay.bags import Recording
from edge_replay.convert import convert
from edge_replay.datasets.layouts import open_sequence
from edge_runtime.calibration import Calibration
from edge_runtime.images import to_bgr
from edge_runtime.interface import Input
from edge_runtime.trajectory import Trajectory
from edge_worlds.rooms.renderer import Pinhole, render
from edge_worlds.rooms.room import make_room
from edge_worlds.rooms.trajectory import wander

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (320, 240)
LENS = Pinhole.with_view(*SIZE)
TYPES = get_typestore(Stores.ROS2_HUMBLE)
COUNT = 3


def right_in_left() -> np.ndarray:
    """12 cm to the right, and looking a little elsewhere, as no two cameras are quite parallel."""
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.radians([1.5, -1.0, 2.0]))[0]
    pose[:3, 3] = (0.12, 0.004, -0.003)
    return pose


@pytest.fixture(scope="module")
def euroc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("euroc")
    room = make_room(3)
    path = wander(room, 3, 1.0, 10.0)
    lefts = Trajectory(np.arange(COUNT) + 1, path.poses[:COUNT]).matrices()
    for number, in_body in enumerate((np.eye(4), right_in_left())):
        place = folder / "mav0" / f"cam{number}"
        (place / "data").mkdir(parents=True)
        poses = Trajectory.from_matrices(np.arange(COUNT) + 1, lefts @ in_body).poses
        lines = ["#timestamp [ns],filename"]
        for k, pose in enumerate(poses):
            name = f"{10**18 + k * 50_000_000}.png"
            cv2.imwrite(str(place / "data" / name), render(room, LENS, pose)[0])
            lines.append(f"{name.removesuffix('.png')},{name}")
        (place / "data.csv").write_text("\n".join(lines))
        sensor = {
            "T_BS": {"data": in_body.ravel().tolist()},
            "camera_model": "pinhole",
            "resolution": list(SIZE),
            "intrinsics": [LENS.fx, LENS.fy, LENS.cx, LENS.cy],
            "distortion_model": "radial-tangential",
            "distortion_coefficients": [0.0, 0.0, 0.0, 0.0],
        }
        (place / "sensor.yaml").write_text(yaml.safe_dump(sensor))
    return folder


def read(recording: Recording) -> list[dict[str, Any]]:
    kinds = {"image": "Image", "right/image": "Image"}
    return [
        {
            topic: TYPES.deserialize_cdr(data, f"sensor_msgs/msg/{kinds.get(topic, 'CameraInfo')}")
            for topic, data in frame.messages
        }
        for frame in recording.frames()
    ]


def test_a_point_is_on_one_row_of_both_pictures_at_its_depth(euroc: Path, tmp_path: Path) -> None:
    done = convert(euroc, tmp_path / "bag")
    assert (done.images, done.rights, done.notes) == (COUNT, COUNT, ())
    recording = Recording(tmp_path / "bag", SLAM.inputs, {})
    assert node_parameters(recording.topics, "euroc")["camera_mode"] == "stereo"
    told = read(recording)
    assert len(told) == COUNT
    infos = {IMAGE: told[0]["camera_info"], RIGHT: told[0]["right/camera_info"]}
    known = {topic: Calibration.from_camera_info(info) for topic, info in infos.items()}
    rig = Rig("stereo", {topic: one for topic, one in known.items() if one}, SIZE[0] * SIZE[1])
    assert rig.baseline is not None
    length = np.linalg.norm(right_in_left()[:3, 3])
    assert rig.baseline[0].item() == pytest.approx(-length, abs=1e-6)

    pair = {topic: to_bgr(told[0][topic]) for topic in (IMAGE, RIGHT)}
    frame = rig.frame(0, pair)
    assert frame.right is not None
    grey = [cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in (frame.bgr, frame.right)]
    corners = cv2.goodFeaturesToTrack(grey[0], 200, 0.02, 6)
    found, ok, _ = cv2.calcOpticalFlowPyrLK(grey[0], grey[1], corners, None)
    moved = (found - corners)[ok.ravel() == 1, 0]
    assert len(moved) > 40
    assert np.median(np.abs(moved[:, 1])) < 0.2
    # Rooms are a few metres wide.
    metres = rig.camera.matrix[0, 0] * length / -np.median(moved[:, 0])
    assert 0.5 < metres < 8


def test_who_takes_one_picture_gets_the_left_ones(euroc: Path, tmp_path: Path) -> None:
    class Single:
        name = "single"

        class node:  # noqa: N801
            inputs = (Input("image", "colour"),)

        def convert_labels(self, _folder: Path, _stamps: object) -> None:
            return None

    done = convert(euroc, tmp_path / "bag", skill=Single())  # type: ignore[arg-type]
    assert done.rights == 0
    assert done.notes == (
        "the images of the right camera are left out: the skill single does not use them",
    )
    assert list(Recording(tmp_path / "bag", Single.node.inputs, {}).topics) == ["image"]


def test_a_folder_whose_right_camera_stands_elsewhere_is_still_converted(
    euroc: Path, tmp_path: Path
) -> None:
    """Without the images that no pair can be made of."""
    import shutil

    folder = tmp_path / "euroc"
    shutil.copytree(euroc, folder)
    sensor = folder / "mav0" / "cam1" / "sensor.yaml"
    values = yaml.safe_load(sensor.read_text())
    values["T_BS"]["data"] = np.linalg.inv(right_in_left()).ravel().tolist()
    sensor.write_text(yaml.safe_dump(values))
    assert open_sequence(folder).right_camera is not None
    done = convert(folder, tmp_path / "bag")
    assert done.rights == 0
    assert "check which is which" in done.notes[0]
