"""The installed `pose_node` with the shipped bundle, over DDS."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pose_process import PATIENCE_S, client, message, pose_node, read
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engine
from edge_runtime.images import to_bgr
from edge_runtime.share import shipped_bundle
from edge_worlds.arm.model import Arm
from edge_worlds.arm.scene import LabelledImage, SceneSampler
from pose_fcn.estimator import PoseEstimator

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("domain_id")]


@pytest.fixture(scope="module")
def picture() -> LabelledImage:
    return SceneSampler(Arm(), (640, 480), most_occluders=0).sample(np.random.default_rng(4))


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
        second = 0
        while not clouds:  # what is matched here may not yet be matched there
            assert second < PATIENCE_S, "no answer"
            second += 1
            images.publish(message(picture.bgr, "bgr8", second))
            node.listen(1.0)
        assert np.isnan(read(clouds[0])[:, :3]).all()

        node.create_subscription(MarkerArray, "/arm_pose/markers", markers.append, 10)
        node.create_subscription(Image, "/arm_pose/overlay", overlays.append, 1)
        camera = picture.camera
        info = CameraInfo(
            height=480,
            width=640,
            distortion_model="plumb_bob",
            d=[0.0] * 5,
            k=camera.matrix.ravel(),
        )
        millimetres = np.nan_to_num(picture.depth * 1000).clip(0, 65535).astype("<u2")
        end = time.monotonic() + PATIENCE_S
        # The first answers may come before the depth, the calibration and the listeners are found.
        while not (
            overlays
            and np.isfinite(read(clouds[-1])[:, :3]).any()
            and any(marker.type == Marker.SPHERE_LIST for m in markers[-1:] for marker in m.markers)
        ):
            assert time.monotonic() < end, "no markers, overlay or points"
            second += 1
            infos.publish(info)
            depths.publish(message(millimetres, "16UC1", second))
            images.publish(message(picture.bgr, "bgr8", second))
            node.listen(0.2)
        node.spin_until(lambda: clouds[-1].header.stamp.sec == second)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0

    bundle = load_bundle(shipped_bundle("pose"), "pose")
    expected = PoseEstimator.from_bundle(bundle, open_engine(bundle).run).estimate(picture.bgr)
    rows = read(clouds[-1])
    assert clouds[-1].header.frame_id == "camera_optical"
    assert clouds[-1].header.stamp.sec == second
    assert rows[:, 3:5] == pytest.approx(expected.positions, abs=0.01, nan_ok=True)
    assert rows[:, 5] == pytest.approx(expected.scores, abs=1e-4)
    # The demo network finds the demo arm, and its points lie on the arm's skin; but for the tip,
    # which is the air between the fingers.
    errors = np.linalg.norm(expected.positions - picture.keypoints, axis=1)
    assert np.median(errors) < 8
    right = errors < 8
    right[-1] = False
    assert np.linalg.norm(rows[right, :3] - picture.positions[right], axis=1).max() < 0.1
    assert Marker.LINE_LIST in [marker.type for marker in markers[-1].markers]
    overlay = to_bgr(overlays[-1])
    changed = (overlay != picture.bgr).any(axis=2)
    assert 0.0005 < changed.mean() < 0.1


def test_depth_of_another_size_costs_the_third_dimension_and_unsure_keypoints_on_demand(
    picture: LabelledImage, tmp_path: Path
) -> None:
    clouds: list[PointCloud2] = []
    log = tmp_path / "stderr"
    with (
        log.open("w") as stderr,
        pose_node("min_score:=1.0", stderr=stderr) as process,
        client() as node,
    ):
        node.create_subscription(PointCloud2, "/arm_pose/keypoints", clouds.append, 10)
        images = node.create_publisher(Image, "image", 1)
        depths = node.create_publisher(Image, "depth", 1)
        node.spin_until(lambda: images.get_subscription_count() and depths.get_subscription_count())
        second = 0
        # The first images may come before the depth is found, or the answers before this end is.
        while "320x240" not in log.read_text() or not clouds:
            second += 1
            assert second < 40, "depth of another size was not refused"
            depths.publish(message(np.ones((240, 320), "<f4"), "32FC1", second))
            images.publish(message(picture.bgr, "bgr8", second))
            node.listen(0.3)
        node.spin_until(lambda: clouds[-1].header.stamp.sec == second)
        rows = read(clouds[-1])
        assert np.isnan(rows[:, :3]).all()
        assert np.isnan(rows[:, 3:5]).all()  # no score reaches 1
        assert rows[:, 5].max() > 0.5
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    lines = [line for line in log.read_text().splitlines() if "320x240" in line]
    assert len(lines) == 1
    assert "registered to the image" in lines[0]
