"""The node of the spot skill, on the real node base, with a real (very small) engine."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
from geometry_msgs.msg import PointStamped
from spot_interface import CENTRE, SPOT

from edge_runtime.node import SkillNode
from edge_runtime.run_node import run_node

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.bundle import Bundle
    from edge_runtime.engine import Engine
    from edge_runtime.frame import CameraFrame
    from edge_runtime.latency import Stopwatch


class SpotNode(SkillNode[tuple[float, float]]):
    """Finds the brightest spot."""

    interface = SPOT

    def load(self, bundle: Bundle, engines: Mapping[str, Engine]) -> None:
        del bundle
        self._run = engines["spot"].run
        self._count = self._in_a_row = 0
        self._rests_since = 0.0

    def unload(self) -> None:
        """Keep nothing but the engine."""

    def process(self, frame: CameraFrame, stopwatch: Stopwatch) -> tuple[float, float]:
        self._count += 1
        if self._count == self.parameters["die_after"]:
            self.get_logger().fatal("the spot has burnt through")
            os._exit(3)
        bgr = frame.images["image"]
        with stopwatch.stage("engine"):
            self._run({"pixels": bgr[None, :1, :1].astype(np.float32)})
            time.sleep(self._delay())
        rows, columns = np.nonzero(bgr[:, :, 1] == bgr[:, :, 1].max())
        return float(columns.mean()), float(rows.mean())

    def _delay(self) -> float:
        """Seconds; longer when no pause of 75 ms was made for too many frames."""
        delay: float = self.parameters["delay_ms"] / 1e3
        rested = time.monotonic() - self._rests_since > 0.075
        self._in_a_row = 1 if rested else self._in_a_row + 1
        tired = 0 < self.parameters["tires_after"] < self._in_a_row
        self._rests_since = time.monotonic() + (delay := 1.5 * delay if tired else delay)
        return delay

    def publish(self, frame: CameraFrame, result: tuple[float, float]) -> None:
        message = PointStamped(header=frame.header)
        message.point.x, message.point.y = result
        self.outputs[CENTRE].publish(message)


if __name__ == "__main__":
    sys.exit(run_node(SpotNode))
