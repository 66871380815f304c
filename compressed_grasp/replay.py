"""What `replay` needs to know of the push-grasp skill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import cv2
import numpy as np
import yaml

from compressed_grasp.action import ANGLES
from compressed_grasp.interface import ACTION, GRASP
from compressed_grasp.messages import read_action
from compressed_grasp.planner import GraspPlanner, Settings, View
from edge_replay.protocol import FolderLabels, Score
from edge_runtime.bundle import load_bundle
from edge_runtime.calibration import CameraInfoReader
from edge_runtime.common_settings import CAMERA_POSE
from edge_runtime.engine import open_engine
from edge_runtime.frame import CameraFrame
from edge_runtime.share import shipped_bundle
from edge_runtime.trajectory import Trajectory
from edge_runtime.transform_text import format_pose, parse_pose

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from compressed_grasp.action import Action
    from compressed_grasp.heightmap import HeightMap
    from edge_replay.bags import RecordedFrame, Recording
    from edge_replay.protocol import Answers, PlayedRun

ACTION_TOPIC = GRASP.resolve(ACTION)
SAME_ACTION, SAME_KIND, Q_LOSS = "same_action", "same_kind", "q_loss"
METRICS = {
    SAME_ACTION: "share of decisions that the FP32 engine, shown the same images, makes alike: "
    "kind, angle, and place within a cell",
    SAME_KIND: "share of decisions in which it pushes, grasps, or does nothing, too",
    Q_LOSS: "how much less the FP32 engine expects of the node's actions than of its own, mean",
}

_NEAR = 1.5  # cells
_PICTURES = 12
_MOVED = 1e-6  # metres and quaternion: a camera that stands still has the same pose


class _Decided(NamedTuple):
    """A decision of the node, and what the FP32 engine makes of the same images."""

    view: View
    seen: HeightMap
    action: Action | None
    reference: Action | None
    loss: float


class GraspReplay:
    """The part of the skill that plays recordings into the node and judges its actions."""

    name = "grasp"
    node = GRASP
    work_stages: ClassVar[Sequence[str]] = ("heightmap", "engine", "choice")

    def node_parameters(self, recording: Recording, layout: str | None) -> Mapping[str, str]:
        """Tell the node where the camera is, if the recording says it and it stands still."""
        del layout
        truth = recording.truth
        if truth is None or not len(truth) or np.ptp(truth.poses, axis=0).max() > _MOVED:
            return {}
        return {CAMERA_POSE.name: format_pose(truth.poses[0])}

    def score(self, run: PlayedRun) -> Score | None:
        """Compare the node's actions with those of the bundle's FP32 engine."""
        decided = list(_decisions(run))
        if not decided:
            return None
        same = [_is_same(each.action, each.reference) for each in decided]
        kinds = [_kind(each.action) == _kind(each.reference) for each in decided]
        metrics = {SAME_ACTION: float(np.mean(same)), SAME_KIND: float(np.mean(kinds))}
        if losses := [each.loss for each in decided if np.isfinite(each.loss)]:
            metrics[Q_LOSS] = float(np.mean(losses))
        return Score(
            metrics=metrics,
            primary_metric=SAME_ACTION,
            labelled=0,
            answered=len(decided),
            better={SAME_ACTION: "higher", SAME_KIND: "higher", Q_LOSS: "lower"},
        )

    def pictures(self, run: PlayedRun) -> Sequence[tuple[str, NDArray[Any]]]:
        """Draw some of the node's actions on the colour image and on the height map."""
        from compressed_grasp.overlay import draw_height_map, draw_on_image

        workspace = _settings(run.parameters).workspace
        wanted = {stamp for stamp, _ in run.answers[:: -(-len(run.answers) // _PICTURES) or 1]}
        pictures = []
        for stamp, each in zip((s for s, _ in run.answers), _decisions(run), strict=False):
            if stamp not in wanted:
                continue
            view = each.view
            image = draw_on_image(
                view.color, each.action, workspace, view.camera.matrix, view.camera_pose
            )
            heights = draw_height_map(each.seen, each.action, workspace)
            height = image.shape[0]
            width = round(heights.shape[1] * height / heights.shape[0])
            heights_scaled = cv2.resize(heights, (width, height), interpolation=cv2.INTER_NEAREST)
            pictures.append((_said(each.action), np.hstack([image, heights_scaled])))
        return pictures

    def draw(self, bgr: NDArray[Any], answers: Answers) -> NDArray[Any]:
        """Write the action on a copy of the image; `pictures` shows where it is."""
        workspace = Settings().workspace
        text = _said(read_action(answers[ACTION_TOPIC], workspace))
        drawn: NDArray[Any] = bgr.copy()
        for color, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
            cv2.putText(drawn, text, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, color, width)
        return drawn

    def convert_labels(self, folder: Path, stamps: Mapping[str, int]) -> FolderLabels:
        """Nothing beside the images is a label: the camera's pose is the bag's ground truth."""
        del folder, stamps
        return FolderLabels(labels=None, camera_matrix=None)


def _decisions(run: PlayedRun) -> Iterator[_Decided]:
    """Decide again on every frame that was answered, with the history that the node had."""
    parameters = _parameters(run.parameters)
    pose = parse_pose(parameters[CAMERA_POSE.name])
    if pose is None:
        return
    [camera_pose] = Trajectory(np.zeros(1, np.int64), np.array([pose])).matrices()
    bundle = load_bundle(run.bundle or shipped_bundle(GRASP.skill), GRASP.skill)
    engine = open_engine(bundle, "cpu", precision="fp32")
    planner = GraspPlanner.from_bundle(bundle, engine.run, Settings.of_parameters(parameters))
    cameras = CameraInfoReader(rectified=parameters["rectified"])
    answers = dict(run.answers)
    for frame in run.recording.frames():
        if frame.stamp not in answers:
            continue
        decoded = _decoded(frame, run.recording, cameras)
        stamp = frame.stamp * 1e-9
        view = View(
            decoded.images["color"],
            decoded.images["depth"],
            decoded.calibration["color"],
            camera_pose,
            stamp,
        )
        seen = planner.look(view)
        decision = planner.decide(seen, stamp)
        action = read_action(answers[frame.stamp][ACTION_TOPIC], planner.workspace)
        planner.chose(action, seen, stamp)
        loss = np.nan
        if action is not None and decision.action is not None:
            row, column = action.cell
            loss = decision.value - decision.q[_channel(action), row, column]
        yield _Decided(view, seen, action, decision.action, float(loss))
    engine.close()


def _decoded(frame: RecordedFrame, recording: Recording, cameras: CameraInfoReader) -> CameraFrame:
    """Decode a frame as the node does."""
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image

    color = GRASP.images[0].topic
    messages: dict[str, Any] = {}
    camera_info = {}
    # The image that makes the frame is the last one.
    for role, content in reversed(frame.messages):
        topic = recording.topics[role]
        if topic.kind == "camera_info":
            message = deserialize_message(content, CameraInfo)
            camera_info[color] = cameras.read(color, message)
        else:
            kind = CompressedImage if topic.compressed else Image
            messages[role] = deserialize_message(content, kind)
    decoded = CameraFrame(messages[color].header, messages, camera_info=camera_info)
    decoded.decode({image.topic: image for image in GRASP.images})
    return decoded


def _parameters(given: Mapping[str, str]) -> dict[str, Any]:
    """Return all parameters of the node, typed as it reads them."""
    return {
        setting.name: setting.check(yaml.safe_load(given[setting.name]))
        if setting.name in given
        else setting.default
        for setting in GRASP.parameters
    }


def _settings(given: Mapping[str, str]) -> Settings:
    return Settings.of_parameters(_parameters(given))


def _is_same(first: Action | None, second: Action | None) -> bool:
    if first is None or second is None:
        return first is second
    near = np.hypot(*np.subtract(first.cell, second.cell)) <= _NEAR
    return bool(near) and _meaning(first) == _meaning(second)


def _meaning(action: Action) -> tuple[str, int]:
    """Kind and angle; a grasp with the jaws changed over is the same."""
    turns = ANGLES if action.kind == "push" else ANGLES // 2
    return action.kind, action.angle_index % turns


def _channel(action: Action) -> int:
    return action.angle_index + (0 if action.kind == "push" else ANGLES)


def _kind(action: Action | None) -> str:
    return "nothing" if action is None else action.kind


def _said(action: Action | None) -> str:
    if action is None:
        return "nothing to do"
    x, y, z = action.waypoints[1]
    degrees = np.degrees(action.angle)
    return f"{action.kind} at x {x:.3f}, y {y:.3f}, z {z:.3f} m, {degrees:g} degrees"
