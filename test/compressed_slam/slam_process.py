"""The real `slam` node with the truth in the networks' place; run as a program by the tests.

The last three digits of a stamp say which shot of a walk through a room was taken then.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))

from recordings import BASELINE, CAMERA, SECOND, Shot, walk

from compressed_slam.node import SlamNode
from compressed_slam.oracle import Oracle
from edge_runtime.run_node import run_node

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from compressed_slam.matching import Operator
    from edge_runtime.engine import Engine

RATE = 12.0
_BEGIN_S = 100
_MICROSECOND = 1000


def shots() -> list[Shot]:
    return walk("wander", 1, 4.0, RATE)


def stamp_of_shot(index: int, at: float | None = None) -> int:
    """Return the stamp, ns, of a shot that is taken `at` seconds, or in its own time."""
    seconds = index / RATE if at is None else at
    return (_BEGIN_S * SECOND + int(seconds * SECOND)) // _MICROSECOND * _MICROSECOND + index


class OracleSlamNode(SlamNode):
    """Tracks by the flow that depth and poses of the walk make."""

    def operator(self, engines: Mapping[str, Engine]) -> Operator:
        del engines
        taken = shots()

        def truth(stamp: int) -> tuple[np.ndarray, np.ndarray]:
            shot = taken[stamp % _MICROSECOND]
            return shot.pose, shot.depth

        stereo = self.parameters["camera_mode"] == "stereo"
        return Oracle(truth, CAMERA, baseline=BASELINE if stereo else None, noise=0.02)


if __name__ == "__main__":
    sys.exit(run_node(OracleSlamNode))
