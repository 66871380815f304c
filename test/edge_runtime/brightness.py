"""A tiny skill with a real network: the mean brightness of an image; run as a node by the tests."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from geometry_msgs.msg import PointStamped

from edge_runtime.errors import MessageError
from edge_runtime.interface import Input, NodeInterface, Output
from edge_runtime.node import SkillNode
from edge_runtime.run_node import run_node
from edge_runtime.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edge_runtime.bundle import Bundle
    from edge_runtime.engine import Engine
    from edge_runtime.frame import CameraFrame
    from edge_runtime.latency import Stopwatch


BRIGHTNESS = NodeInterface(
    name="brightness",
    executable="brightness_node",
    skill="brightness",
    inputs=(
        Input("image", "colour"),
        Input("camera_info", "camera_info", required=False, of="image"),
        Input("depth", "depth", required=False),
    ),
    outputs=(Output("/brightness/mean", "geometry_msgs/msg/PointStamped"),),
    pictures=("~/picture",),
    settings=(
        Setting("gain", 1.0, "factor of the result", 0.0, 10.0, changes="always"),
        Setting("delay_s", 0.0, "seconds that a frame takes longer", 0.0, 10.0, changes="always"),
        Setting("draw_s", 0.0, "seconds that a picture takes longer", 0.0, 10.0, changes="always"),
        Setting("load_s", 0.0, "seconds that configuring takes longer", 0.0, 100.0),
    ),
)


class BrightnessNode(SkillNode[tuple[float, float, float]]):
    """Publishes mean brightness (x), mean depth (y) and focal length (z), NaN where unknown."""

    interface = BRIGHTNESS

    def load(self, bundle: Bundle, engines: Mapping[str, Engine]) -> None:
        assert bundle.manifest.skill == self.interface.skill
        self._engine = engines["brightness"]
        self.create_picture("~/picture", self._draw)
        time.sleep(self.parameters["load_s"])

    def unload(self) -> None:
        self._engine = None

    def process(self, frame: CameraFrame, stopwatch: Stopwatch) -> tuple[float, float, float]:
        image = frame.images["image"]
        time.sleep(self.parameters["delay_s"])
        if image.shape[:2] == (13, 13):
            message = "unlucky"
            raise RuntimeError(message)
        if image.shape[:2] == (1, 1):
            message = "an image of one pixel is too small: send 2x2 or more"
            raise MessageError(message, "too small")
        with stopwatch.stage("preprocess"):
            pixels = image.astype(np.float32)[None]
        with stopwatch.stage("engine"):
            mean = self._engine.run({"image": pixels})["mean"]
        depth: Any = frame.images.get("depth", np.nan)
        camera = frame.calibration.get("image")
        focal_length = float(camera.matrix[0, 0]) if camera else np.nan
        return float(mean[0]) * self.parameters["gain"], float(np.mean(depth)), focal_length

    def publish(self, frame: CameraFrame, result: tuple[float, float, float]) -> None:
        message = PointStamped(header=frame.header)
        message.point.x, message.point.y, message.point.z = result
        self.outputs["/brightness/mean"].publish(message)

    def _draw(self, _: CameraFrame, result: tuple[float, float]) -> NDArray[np.uint8]:
        time.sleep(self.parameters["draw_s"])
        return np.full((8, 8, 3), result[0], np.uint8)


if __name__ == "__main__":
    sys.exit(run_node(BrightnessNode))
