"""The `grasp` node: colour and depth images in, pushes and grasps out."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from compressed_grasp.interface import (
    ACTION,
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
from edge_runtime.node import SkillNode

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from compressed_grasp.heightmap import HeightMap
    from compressed_grasp.q_policy import Decision
    from edge_runtime.bundle import Bundle
    from edge_runtime.engine import Engine
    from edge_runtime.frame import Frame
    from edge_runtime.latency import Stopwatch
    from edge_runtime.services import Handler


class Plan(NamedTuple):
    """What was seen, and what to do about it."""

    seen: HeightMap
    decision: Decision


class GraspNode(SkillNode[Plan]):
    """Chooses pushes and grasps that clear a table, on request or for every image."""

    interface = GRASP

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

    def process(self, frame: Frame, stopwatch: Stopwatch) -> Plan:
        """Project the images onto the table, and choose."""
        if not self._enabled:
            message = f"disabled: call {ENABLED.name} with data: true"
            raise MessageError(message, "disabled")
        camera = frame.calibration.get("color")
        if camera is None:
            message = "no usable camera info of 'color' has come: publish it on camera_info"
            raise MessageError(message, "camera info")
        stamp = frame.header.stamp.sec + frame.header.stamp.nanosec * 1e-9
        pose = self.camera_poses.at(frame.header, self._frame)
        view = View(frame.images["color"], frame.images["depth"], camera, pose, stamp)
        with stopwatch.stage("heightmap"):
            seen = self._planner.look(view)
        decision = self._planner.decide(seen, stamp, stopwatch)
        self._planner.chose(decision.action, seen, stamp)
        self._said = {"decision": _said(decision), "coverage": f"{seen.coverage:.0%}"}
        return Plan(seen, decision)

    def publish(self, frame: Frame, result: Plan) -> None:
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

    def _draw(self, frame: Frame, result: Plan) -> NDArray[np.uint8]:
        del frame
        decision = result.decision
        return draw_q_map(decision.q, result.seen, decision.action, self._planner.workspace)

    def _enable(self, request: Any, response: Any) -> None:  # noqa: ANN401
        self._enabled = request.data
        response.message = "enabled" if request.data else "disabled: no actions until enabled"


def _said(decision: Decision) -> str:
    if decision.action is None:
        return f"nothing to do: {decision.reason}"
    return f"{decision.action.kind}, Q {decision.value:.2f}"
