"""The `grasp` node: colour and depth images in, pushes and grasps out."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from sensor_msgs.msg import PointCloud2

from compressed_grasp.arm_mask import read_points
from compressed_grasp.interface import (
    ACTION,
    ARM,
    ENABLED,
    GRASP,
    GRASP_POSE,
    HEIGHT_MAP,
    MARKERS,
    PUSH,
    Q_MAP,
)
from compressed_grasp.messages import (
    action_markers,
    action_message,
    height_message,
    pose_message,
    workspace_header,
)
from compressed_grasp.overlay import draw_q_map
from compressed_grasp.planner import GraspPlanner, Settings, View
from edge_runtime.diagnostics import Condition
from edge_runtime.errors import MessageError
from edge_runtime.inputs import BEST_EFFORT
from edge_runtime.node import SkillNode

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from compressed_grasp.heightmap import HeightMap
    from compressed_grasp.q_policy import Decision
    from edge_runtime.bundle import Bundle
    from edge_runtime.engine import Engine
    from edge_runtime.frame import CameraFrame
    from edge_runtime.latency import Stopwatch
    from edge_runtime.services import Handler

_SAME_TIME_S = 0.5  # between the images of arm and table


class Plan(NamedTuple):
    """What was seen, and what to do about it."""

    seen: HeightMap
    decision: Decision


class GraspNode(SkillNode[Plan]):
    """Chooses pushes and grasps that clear a table, on request or for every image."""

    interface = GRASP

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        """Take the keyword arguments of `rclpy.node.Node`."""
        super().__init__(**options)
        self._arm: tuple[Any, NDArray[np.float64]] | None = None
        self.create_subscription(PointCloud2, ARM, self._keep_arm, BEST_EFFORT)

    def load(self, bundle: Bundle, engines: Mapping[str, Engine]) -> None:
        """Make the planner."""
        values = {setting.name: self.parameters[setting.name] for setting in GRASP.parameters}
        settings = Settings.of_parameters(values)
        self._planner = GraspPlanner.from_bundle(bundle, engines[GRASP.skill].run, settings)
        self._frame = self.parameters["workspace_frame"]
        self._enabled = True
        self._said: Mapping[str, str] = {}
        self.create_picture(Q_MAP, self._draw)

    def unload(self) -> None:
        """Let go of the engine."""
        with suppress(AttributeError):  # after a failed load
            del self._planner

    def reset(self) -> None:
        """Forget which actions have changed nothing."""
        self._planner.reset()

    def handlers(self) -> Mapping[str, Handler]:
        """Return what switches the node on and off."""
        return {ENABLED.name: self._enable}

    def condition(self) -> Condition:
        """Return the last decision, with the reason where there was nothing to do."""
        return Condition(values=self._said)

    def process(self, frame: CameraFrame, stopwatch: Stopwatch) -> Plan:
        """Project the images onto the table, and choose."""
        if not self._enabled:
            message = f"disabled: call {ENABLED.name} with data: true"
            raise MessageError(message, "disabled")
        camera = frame.calibration.get("color")
        if camera is None:
            message = "no usable camera info of 'color' has come: publish it on camera_info"
            raise MessageError(message, "camera info")
        stamp = _seconds(frame.header)
        pose = self.camera_poses.at(frame.header, self._frame)
        view = View(frame.images["color"], frame.images["depth"], camera, pose, stamp)
        with stopwatch.stage("heightmap"):
            seen = self._planner.look(view)
        arm = self._arm_at(frame.header, pose)
        decision = self._planner.decide(seen, stamp, stopwatch, arm)
        self._planner.chose(decision.action, seen, stamp)
        self._said = {"decision": _said(decision), "coverage": f"{seen.coverage:.0%}"}
        return Plan(seen, decision)

    def publish(self, frame: CameraFrame, result: Plan) -> None:
        """Publish the action, or that there is none; the rest only for those who listen."""
        header = workspace_header(frame.header, self._frame)
        action = result.decision.action
        self.outputs[ACTION].publish(action_message(action, header))
        if action is not None:
            pose = self.outputs[PUSH if action.kind == "push" else GRASP_POSE]
            if pose.get_subscription_count():
                pose.publish(pose_message(action, header))
        if self.outputs[HEIGHT_MAP].get_subscription_count():
            self.outputs[HEIGHT_MAP].publish(height_message(result.seen, header))
        if self.outputs[MARKERS].get_subscription_count():
            markers = action_markers(action, self._planner.workspace, header)
            self.outputs[MARKERS].publish(markers)

    def _keep_arm(self, cloud: PointCloud2) -> None:
        self._arm = cloud.header, read_points(cloud)

    def _arm_at(self, header: Any, pose: NDArray[np.float64]) -> NDArray[np.float64] | None:  # noqa: ANN401
        """Return where the arm was, in the workspace frame, if the same camera saw it then."""
        newest = self._arm
        if newest is None or not self.parameters["arm_radius"]:
            return None
        of, points = newest
        late = abs(_seconds(of) - _seconds(header))
        if of.frame_id != header.frame_id or late > _SAME_TIME_S:
            return None
        moved: NDArray[np.float64] = points @ pose[:3, :3].T + pose[:3, 3]
        return moved

    def _draw(self, frame: CameraFrame, result: Plan) -> NDArray[np.uint8]:
        del frame
        decision = result.decision
        return draw_q_map(decision.q, result.seen, decision.action, self._planner.workspace)

    def _enable(self, request: Any, response: Any) -> None:  # noqa: ANN401
        self._enabled = request.data
        response.message = "enabled" if request.data else "disabled: no actions until enabled"


def _seconds(header: Any) -> float:  # noqa: ANN401
    return float(header.stamp.sec + header.stamp.nanosec * 1e-9)


def _said(decision: Decision) -> str:
    if decision.action is None:
        return f"nothing to do: {decision.reason}"
    return f"{decision.action.kind}, Q {decision.value:.2f}"
