"""The installed `pose_node` with the shipped bundle, over DDS."""

from __future__ import annotations

import array
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engine
from edge_runtime.images import to_bgr
from edge_runtime.share import shipped_bundle
from edge_worlds.arm.model import Arm
from edge_worlds.arm.scene import LabelledImage, SceneSampler
from pose_fcn.estimator import PoseEstimator
from pose_fcn.messages import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("domain_id")]

PATIENCE_S = 30


@pytest.fixture(scope="module")
def picture() -> LabelledImage:
    return SceneSampler(Arm(), (640, 480), most_occluders=0).sample(np.random.default_rng(4))


@contextmanager
def pose_node(*parameters: str) -> Iterator[subprocess.Popen[str]]:
    words = [word for parameter in parameters for word in ("-p", parameter)]
    program = Path(sys.executable).with_name("pose_node")
    process = subprocess.Popen([program, "--ros-args", *words], stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def client() -> Iterator[Any]:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("client", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    node.spin_until = lambda done: spin_until(executor, done)
    try:
        yield node
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)


def spin_until(executor: SingleThreadedExecutor, done: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, "no answer"
        executor.spin_once(timeout_sec=0.1)


def message(values: np.ndarray, encoding: str, second: int) -> Image:
    image = Image(height=values.shape[0], width=values.shape[1], encoding=encoding)
    image.header.frame_id = "camera_optical"
    image.header.stamp.sec = second
    image.step = values.strides[0]
    image.data = array.array("B", values.tobytes())
    return image


def read(cloud: PointCloud2) -> np.ndarray:
    assert [field.name for field in cloud.fields] == list(FIELDS)
    return np.frombuffer(bytes(cloud.data), "<f4").reshape(-1, len(FIELDS))


def test_answers_as_the_estimator_does_with_points_where_there_is_depth(
    picture: LabelledImage,
) -> None:
    clouds: list[PointCloud2] = []
    markers: list[MarkerArray] = []
    overlays: list[Image] = []
    with pose_node() as process, client() as node:
        node.create_subscription(PointCloud2, "/arm_pose/keypoints", clouds.append, 10)
        images = node.create_publisher(Image, "image", 1)
        depths = node.create_publisher(Image, "depth", 1)
        infos = node.create_publisher(CameraInfo, "camera_info", 1)
        node.spin_until(lambda: images.get_subscription_count() and infos.get_subscription_count())
        images.publish(message(picture.bgr, "bgr8", 1))
        node.spin_until(lambda: clouds)
        assert np.isnan(read(clouds[0])[:, :3]).all()

        node.create_subscription(MarkerArray, "/arm_pose/markers", markers.append, 10)
        node.create_subscription(Image, "/arm_pose/overlay", overlays.append, 1)
        camera = picture.camera
        infos.publish(
            CameraInfo(
                height=480,
                width=640,
                distortion_model="plumb_bob",
                d=[0.0] * 5,
                k=camera.matrix.ravel(),
            )
        )
        millimetres = np.nan_to_num(picture.depth * 1000).clip(0, 65535).astype("<u2")
        second = 2
        while not (markers and overlays):
            assert second < 40, "no markers or overlay"
            depths.publish(message(millimetres, "16UC1", second))
            images.publish(message(picture.bgr, "bgr8", second))
            count = len(clouds)
            node.spin_until(lambda count=count: len(clouds) > count)
            second += 1
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0

    bundle = load_bundle(shipped_bundle("pose"), "pose")
    expected = PoseEstimator.from_bundle(bundle, open_engine(bundle).run).estimate(picture.bgr)
    rows = read(clouds[-1])
    assert clouds[-1].header.frame_id == "camera_optical"
    assert clouds[-1].header.stamp.sec == second - 1
    assert rows[:, 3:5] == pytest.approx(expected.positions, abs=0.01, nan_ok=True)
    assert rows[:, 5] == pytest.approx(expected.scores, abs=1e-4)
    # The demo network finds the demo arm, and its points lie on the arm's skin; but for the tip,
    # which is the air between the fingers.
    errors = np.linalg.norm(expected.positions - picture.keypoints, axis=1)
    assert np.median(errors) < 8
    right = errors < 8
    right[-1] = False
    assert np.linalg.norm(rows[right, :3] - picture.positions[right], axis=1).max() < 0.1
    kinds = [marker.type for marker in markers[-1].markers]
    assert Marker.SPHERE_LIST in kinds
    assert Marker.LINE_LIST in kinds
    overlay = to_bgr(overlays[-1])
    changed = (overlay != picture.bgr).any(axis=2)
    assert 0.0005 < changed.mean() < 0.1


def test_depth_of_another_size_is_dropped_in_one_line(picture: LabelledImage) -> None:
    clouds: list[PointCloud2] = []
    with pose_node() as process, client() as node:
        node.create_subscription(PointCloud2, "/arm_pose/keypoints", clouds.append, 10)
        images = node.create_publisher(Image, "image", 1)
        depths = node.create_publisher(Image, "depth", 1)
        infos = node.create_publisher(CameraInfo, "camera_info", 1)
        node.spin_until(
            lambda: (
                images.get_subscription_count()
                and depths.get_subscription_count()
                and infos.get_subscription_count()
            )
        )
        infos.publish(CameraInfo(height=480, width=640, k=picture.camera.matrix.ravel()))
        depths.publish(message(np.ones((240, 320), "<f4"), "32FC1", 1))
        images.publish(message(picture.bgr, "bgr8", 1))
        time.sleep(1)
        images.publish(message(picture.bgr, "bgr8", 2))
        node.spin_until(lambda: clouds)
        assert clouds[0].header.stamp.sec == 2
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    lines = [line for line in said.splitlines() if "320x240" in line]
    assert len(lines) == 1
    assert "registered to the colour image" in lines[0]
