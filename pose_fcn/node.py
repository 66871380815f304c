"""The `arm_pose` node: camera images in, keypoints of a robot arm out."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edge_runtime.node import SkillNode
from pose_fcn.estimator import PoseEstimator
from pose_fcn.interface import ARM_POSE, KEYPOINTS, MARKERS, OVERLAY
from pose_fcn.lifting import lift_keypoints
from pose_fcn.messages import keypoint_cloud, skeleton_markers
from pose_fcn.overlay import draw_keypoints

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edge_runtime.bundle import Bundle
    from edge_runtime.engine import Engine
    from edge_runtime.frame import CameraFrame
    from edge_runtime.latency import Stopwatch
    from pose_fcn.estimator import Keypoints


class ArmPose(NamedTuple):
    """Keypoints in the picture and, with depth, in space: (8, 3) metres, optical frame."""

    keypoints: Keypoints
    points: NDArray[np.float32]


class ArmPoseNode(SkillNode[ArmPose]):
    """Finds the keypoints of a robot arm in every camera image."""

    interface = ARM_POSE

    def load(self, bundle: Bundle, engines: Mapping[str, Engine]) -> None:
        """Make the estimator."""
        run = engines[self.interface.skill].run
        self._estimator = PoseEstimator.from_bundle(bundle, run, self.parameters["min_score"])
        self.create_picture(OVERLAY, self._draw)

    def unload(self) -> None:
        """Let go of the network."""
        with suppress(AttributeError):  # after a failed load
            del self._estimator

    def process(self, frame: CameraFrame, stopwatch: Stopwatch) -> ArmPose:
        """Estimate, and place the keypoints in space where there is calibrated depth."""
        keypoints = self._estimator.estimate(frame.images["image"], stopwatch)
        with stopwatch.stage("lifting"):
            points = _in_space(frame, keypoints.positions)
        return ArmPose(keypoints, points)

    def publish(self, frame: CameraFrame, result: ArmPose) -> None:
        """Publish the keypoints; markers only for those who listen."""
        cloud = keypoint_cloud(result.keypoints, result.points, frame.header)
        self.outputs[KEYPOINTS].publish(cloud)
        markers = self.outputs[MARKERS]
        if markers.get_subscription_count():
            links, names = self._estimator.settings.links, self._estimator.names
            markers.publish(skeleton_markers(result.points, links, names, frame.header))

    def _draw(self, frame: CameraFrame, result: ArmPose) -> NDArray[Any]:
        links = self._estimator.settings.links
        return draw_keypoints(frame.images["image"], result.keypoints.positions, links)


def _in_space(frame: CameraFrame, positions: NDArray[np.float32]) -> NDArray[np.float32]:
    unknown = np.full((len(positions), 3), np.nan, np.float32)
    depth, camera = frame.images.get("depth"), frame.calibration.get("image")
    if depth is None or camera is None:
        return unknown
    return lift_keypoints(positions, depth, camera.matrix, camera.distortion, camera.model)
