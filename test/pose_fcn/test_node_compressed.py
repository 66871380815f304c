"""`pose_node` fed as image_transport feeds it: JPEG, compressedDepth, rectified."""

from __future__ import annotations

import array
import time
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from pose_process import PATIENCE_S, client, pose_node, read
from sensor_msgs.msg import CameraInfo, CompressedImage, PointCloud2

from edge_worlds.arm.model import Arm
from edge_worlds.arm.scene import SceneSampler

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("domain_id")]


def compressed(form: str, data: bytes, second: int) -> CompressedImage:
    message = CompressedImage(format=form, data=array.array("B", data))
    message.header.stamp.sec = second
    return message


def test_points_of_rectified_compressed_images_and_damaged_ones_in_one_line_each(
    tmp_path: Path,
) -> None:
    picture = SceneSampler(Arm(), (640, 480), most_occluders=0).sample(np.random.default_rng(4))
    jpeg = cv2.imencode(".jpg", picture.bgr)[1].tobytes()
    millimetres = np.nan_to_num(picture.depth * 1000).clip(0, 65535).astype(np.uint16)
    depth = bytes(12) + cv2.imencode(".png", millimetres)[1].tobytes()
    # The camera of a rectified image is P: K and D are the raw one's.
    info = CameraInfo(width=640, height=480, distortion_model="plumb_bob", d=[0.3] * 5)
    info.k = [300.0, 0.0, 400.0, 0.0, 300.0, 100.0, 0.0, 0.0, 1.0]
    info.p = np.hstack([picture.camera.matrix, [[-40.0], [0.0], [0.0]]]).ravel()

    clouds: list[PointCloud2] = []
    log = tmp_path / "stderr"
    words = ("image_transport:=compressed", "depth_transport:=compressedDepth", "rectified:=true")
    with (
        log.open("w") as stderr,
        pose_node(*words, "max_megapixels:=0.4", stderr=stderr) as process,
        client() as node,
    ):
        node.create_subscription(PointCloud2, "/arm_pose/keypoints", clouds.append, 10)
        images = node.create_publisher(CompressedImage, "image/compressed", 1)
        depths = node.create_publisher(CompressedImage, "depth/compressedDepth", 1)
        infos = node.create_publisher(CameraInfo, "camera_info", 1)
        second = 0
        end = time.monotonic() + PATIENCE_S
        while not (clouds and np.isfinite(read(clouds[-1])[:, :3]).any()):
            assert time.monotonic() < end, "no points"
            second += 1
            infos.publish(info)
            depths.publish(compressed("16UC1; compressedDepth png", depth, second))
            images.publish(compressed("rgb8; jpeg compressed bgr8", jpeg, second))
            node.listen(0.2)
        rows = read(clouds[-1])

        size = jpeg.index(b"\xff\xc0") + 5
        huge = jpeg[:size] + b"\x3e\x80\x3e\x80" + jpeg[size + 4 :]
        for _ in range(10):
            second += 2
            images.publish(compressed("jpeg", jpeg[: len(jpeg) // 2] + jpeg[-2:], second - 1))
            node.listen(0.1)  # of two at once the node may read the newer one alone
            images.publish(compressed("jpeg", huge, second))
            node.listen(0.1)
        node.spin_until(lambda: "max_megapixels" in log.read_text())
        second += 1
        images.publish(compressed("jpeg", jpeg, second))
        node.spin_until(lambda: clouds[-1].header.stamp.sec == second)
        assert process.poll() is None
    right = np.linalg.norm(rows[:, 3:5] - picture.keypoints, axis=1) < 8
    right[-1] = False  # the tip is the air between the fingers
    assert right.sum() > 3
    assert np.linalg.norm(rows[right, :3] - picture.positions[right], axis=1).max() < 0.1
    lines = log.read_text().splitlines()
    assert all(line.startswith("[") for line in lines)
    assert sum("premature end" in line for line in lines) == 1
    assert sum("16000x16000" in line for line in lines) == 1
