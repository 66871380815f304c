"""A node that answers on request and remembers: the images since its reset; run by the tests."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import PointStamped

from edge_runtime.errors import SettingError
from edge_runtime.interface import DECIDE, RESET, Input, NodeInterface, Output, Service
from edge_runtime.node import SkillNode
from edge_runtime.run_node import run_node
from edge_runtime.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.bundle import Bundle
    from edge_runtime.engine import Engine
    from edge_runtime.frame import CameraFrame
    from edge_runtime.latency import Stopwatch
    from edge_runtime.services import Handler

SAVE = Service("~/save", "keep it, unless data is false", "std_srvs/srv/SetBool")


class DecidingNode(SkillNode[tuple[float, int]]):
    """Publishes mean brightness (x) and the number of images answered since the reset (y)."""

    interface = NodeInterface(
        name="deciding",
        executable="deciding_node",
        skill="brightness",
        inputs=(
            Input("image", "colour"),
            Input("camera_info", "camera_info", required=False, of="image"),
            Input("depth", "depth", required=False),
        ),
        outputs=(Output("~/mean", "geometry_msgs/msg/PointStamped"),),
        services=(DECIDE, RESET, SAVE),
        camera_pose=True,
        settings=(Setting("delay_s", 0.0, "seconds that a frame takes", 0.0, 10.0, (), "always"),),
    )

    def load(self, bundle: Bundle, engines: Mapping[str, Engine]) -> None:
        del bundle, engines

    def unload(self) -> None:
        """Keep nothing."""

    def reset(self) -> None:
        self._count = 0

    def handlers(self) -> Mapping[str, Handler]:
        return {SAVE.name: self._save}

    def process(self, frame: CameraFrame, stopwatch: Stopwatch) -> tuple[float, int]:
        del stopwatch
        time.sleep(self.parameters["delay_s"])
        self._count += 1
        image = frame.images["image"]
        if image.shape[:2] == (13, 13):
            message = "unlucky"
            raise RuntimeError(message)
        return float(image.mean()), self._count

    def publish(self, frame: CameraFrame, result: tuple[float, int]) -> None:
        message = PointStamped(header=frame.header)
        message.point.x, message.point.y = float(result[0]), float(result[1])
        message.point.z = float(self.camera_poses.at(frame.header, "table")[2, 3])
        self.outputs["~/mean"].publish(message)

    def _save(self, request: Any, response: Any) -> None:  # noqa: ANN401
        if not request.data:
            message = "nothing was kept: data is false; ask with true"
            raise SettingError(message)
        response.message = f"kept {self._count}"


if __name__ == "__main__":
    sys.exit(run_node(DecidingNode))
