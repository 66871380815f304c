"""From the tracker's optical frames to a robot's, and to TF; tf2_ros has no wheel: a double."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

pytest.importorskip("numba", reason="numba comes with the extra [slam]")
pytest.importorskip("nav_msgs", reason="nav_msgs comes with the extra [ros]")

import rclpy
from rclpy.parameter import Parameter
from recordings import CAMERA
from slam_client import stand_in_bundle
from slam_process import OracleSlamNode, shots, stamp_of_shot
from std_msgs.msg import Header

from compressed_slam import se3
from compressed_slam.estimate import Estimate, Health
from compressed_slam.robot_frames import RobotFrames, pose_matrix
from edge_runtime import optional_ros
from edge_runtime.frame import CameraFrame
from edge_runtime.latency import Stopwatch
from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from pathlib import Path

# Half a metre in front of the base and one above it, looking forward and 30 degrees down.
TILTED = np.eye(4)
TILTED[:3, :3] = np.array([[0, -0.5, 0.75**0.5], [-1, 0, 0], [0, -(0.75**0.5), -0.5]])
TILTED[:3, 3] = (0.5, 0, 1)


def estimate(xi: list[float], covariance: torch.Tensor) -> Estimate:
    pose = se3.exp(torch.tensor(xi))
    return Estimate(0, pose, pose, covariance, 1.0, Health.TRACKING, keyframe=False)


def test_a_base_stands_where_its_camera_says() -> None:
    frames = RobotFrames(TILTED)
    zero = torch.zeros((6, 6))
    np.testing.assert_allclose(
        frames.place(estimate([0.0] * 6, zero)).in_odom, np.eye(4), atol=1e-6
    )
    # A metre along the view is forward and down for the base, too.
    along = frames.place(estimate([0, 0, 1, 0, 0, 0], zero)).in_odom[:3, 3]
    np.testing.assert_allclose(along, [0.75**0.5, 0, -0.5], atol=1e-6)
    alone = RobotFrames(None).place(estimate([0.1, 0.2, 1, 0, 0, 0], zero)).in_odom[:3, 3]
    np.testing.assert_allclose(alone, [1, -0.1, -0.2], atol=1e-6)


@pytest.mark.parametrize("camera_in_base", [None, TILTED])
def test_the_covariance_is_about_the_axes_of_the_messages_frame(
    camera_in_base: np.ndarray | None,
) -> None:
    rng = np.random.default_rng(0)
    deviation = 1e-3 * np.array([1.0, 2, 5, 1, 3, 2])
    covariance = torch.from_numpy(np.diag(deviation**2))
    frames, still = RobotFrames(camera_in_base), [0.3, -0.2, 0.5, 0.2, 0.4, -0.3]
    claimed = frames.place(estimate(still, covariance)).odom_covariance
    moved = []
    world_to_camera = se3.inverse(se3.exp(torch.tensor(still, dtype=torch.float64)))
    place = frames.place(estimate(still, covariance)).in_odom
    for _ in range(4000):
        xi = torch.from_numpy(deviation * rng.standard_normal(6))
        pose = se3.inverse(se3.retract(world_to_camera, xi))
        other = frames.place(
            Estimate(0, pose, pose, covariance, 1.0, Health.TRACKING, keyframe=False)
        ).in_odom
        turn = other[:3, :3] @ place[:3, :3].T
        about = [turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]
        moved.append([*(other[:3, 3] - place[:3, 3]), *(np.array(about) / 2)])
    found = np.cov(np.array(moved).T)
    scale = np.sqrt(np.outer(claimed.diagonal(), claimed.diagonal()))
    assert np.abs(found - claimed).max() < 0.1 * scale.max()
    assert np.abs((found - claimed) / scale).max() < 0.1


@pytest.mark.ros
@pytest.mark.parametrize("base", ["", "base_link"])
def test_tf_leads_from_map_to_the_robot(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, domain_id: int
) -> None:
    sent: list[Any] = []
    double = SimpleNamespace(
        Buffer=SimpleNamespace,
        TransformListener=lambda *_: None,
        TransformBroadcaster=lambda _: SimpleNamespace(sendTransform=sent.append),
        TransformException=LookupError,
    )
    monkeypatch.setattr(optional_ros, "tf2_ros", double)
    given = {"bundle": str(stand_in_bundle(tmp_path / "bundle")), "base_frame": base}
    given |= {"camera_pose": "0.5 0 1 -0.5 0.5 -0.5 0.5"}
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=domain_id)
    node = OracleSlamNode(
        context=context, parameter_overrides=[Parameter(k, value=v) for k, v in given.items()]
    )
    try:
        node.start()
        monkeypatch.setattr(node.camera_poses, "_look_up", None)  # TF knows nothing
        for index in range(6):
            shot, header = shots()[index], Header(frame_id="camera_optical")
            header.stamp.sec, header.stamp.nanosec = divmod(stamp_of_shot(index), 10**9)
            images = {"image": shot.bgr, "depth": shot.depth}
            frame = CameraFrame(header, images=images, calibration={"image": CAMERA})
            located = node.process(frame, Stopwatch())
            node.publish(frame, located)
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert len(sent) == 12
    child = base or "camera_optical"
    to_odom, to_child = sent[-2:]
    assert (to_odom.header.frame_id, to_odom.child_frame_id) == ("map", "odom")
    assert (to_child.header.frame_id, to_child.child_frame_id) == ("odom", child)
    assert to_child.header.stamp == header.stamp
    together = matrix(to_odom.transform) @ matrix(to_child.transform)
    np.testing.assert_allclose(together, located.placed.in_map, atol=1e-6)
    assert np.linalg.norm(pose_matrix(located.estimate.pose)[:3, 3]) > 0.05


def matrix(transform: Any) -> np.ndarray:  # noqa: ANN401
    t, r = transform.translation, transform.rotation
    pose = np.array([[t.x, t.y, t.z, r.x, r.y, r.z, r.w]])
    return Trajectory(np.zeros(1, np.int64), pose).matrices()[0]
