"""The node of the travel skill: how far the brightest spot went since the reset."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from geometry_msgs.msg import PointStamped
from travel_interface import KEEP, MODELS, TRAVEL, WAY

from edge_runtime.errors import SettingError
from edge_runtime.node import SkillNode
from edge_runtime.run_node import run_node

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.bundle import Bundle
    from edge_runtime.engine import Engine
    from edge_runtime.frame import CameraFrame
    from edge_runtime.latency import Stopwatch
    from edge_runtime.services import Handler


class TravelNode(SkillNode[tuple[float, int]]):
    """Says how far the brightest spot went (x, pixels), and over how many images (y)."""

    interface = TRAVEL

    def load(self, bundle: Bundle, engines: Mapping[str, Engine]) -> None:
        del bundle
        self._runs = [engines[name].run for name in MODELS]

    def unload(self) -> None:
        """Keep nothing."""
        self._runs = []

    def reset(self) -> None:
        self._places: list[float] = []
        self._stamps: list[str] = []

    def handlers(self) -> Mapping[str, Handler]:
        return {KEEP.name: self._keep}

    def _keep(self, _request: object, _response: object) -> None:
        if len(self._stamps) < 2:
            message = "there is no way yet"
            raise SettingError(message)
        folder = Path(self.parameters["keep_in"])
        folder.mkdir()
        (folder / "stamps.txt").write_text("\n".join(self._stamps))

    def process(self, frame: CameraFrame, stopwatch: Stopwatch) -> tuple[float, int]:
        pixels = frame.images["image"][None].astype(np.float32)
        with stopwatch.stage("engine"):
            for run in self._runs:
                pixels = run({"pixels": pixels})["same"]
        with stopwatch.stage("search"):
            green = pixels[0, :, :, 1]
            stamp = frame.header.stamp
            self._stamps.append(str(stamp.sec * 1_000_000_000 + stamp.nanosec))
            self._places.append(float(np.nonzero(green == green.max())[1].mean()))
        return self._places[-1] - self._places[0], len(self._places)

    def publish(self, frame: CameraFrame, result: tuple[float, int]) -> None:
        message = PointStamped(header=frame.header)
        message.point.x, message.point.y = float(result[0]), float(result[1])
        self.outputs[WAY].publish(message)


if __name__ == "__main__":
    sys.exit(run_node(TravelNode))
