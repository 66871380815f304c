"""How many camera messages a second the arm-pose callback could answer, without DDS around it.

    python benchmarks/pose_callback.py BUNDLE [BUNDLE ...]

One 640x480 bgr8 message through decoding, estimation and the making of the answer, back to back;
the engines in turns, so that a busy machine slows all of them alike. "Work" is pre-processing,
network and clustering alone, which is what FCN-Pose's authors time; "times" is how many of the
first engine's frames that makes.
"""

from __future__ import annotations

import array
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sensor_msgs.msg import Image

from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engine
from edge_runtime.images import to_bgr
from edge_runtime.latency import Stopwatch
from edge_worlds.arm.model import Arm
from edge_worlds.arm.scene import SceneSampler
from pose_fcn.estimator import PoseEstimator
from pose_fcn.messages import keypoint_cloud

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROUNDS = 200


def camera_message() -> Image:
    """Render one picture of the own arm as a camera would publish it."""
    picture = SceneSampler(Arm(), (640, 480)).sample(np.random.default_rng(0)).bgr
    message = Image(height=480, width=640, encoding="bgr8", step=1920)
    message.data = array.array("B", picture.tobytes())
    return message


def callback(bundle: Path, precision: str) -> Callable[[Image], float]:
    """Return what the node does with a message, but for publishing; it tells the work's ms."""
    loaded = load_bundle(bundle, "pose")
    estimator = PoseEstimator.from_bundle(loaded, open_engine(loaded, precision=precision).run)
    nowhere = np.full((len(estimator.names), 3), np.nan, np.float32)

    def answer(message: Image) -> float:
        stopwatch = Stopwatch()
        keypoints = estimator.estimate(to_bgr(message), stopwatch)
        keypoint_cloud(keypoints, nowhere, message.header)
        return sum(stopwatch.stages.values())

    return answer


def compare(bundles: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """Time every engine of every bundle, in turns; return the figures by bundle and precision."""
    message = camera_message()
    callbacks = {
        f"{name} {precision}": callback(bundle, precision)
        for name, bundle in bundles.items()
        for precision in ("fp32", "int8")
    }
    times: dict[str, list[float]] = {name: [] for name in callbacks}
    work: dict[str, list[float]] = {name: [] for name in callbacks}
    for _ in range(ROUNDS):
        for name, answer in callbacks.items():
            start = time.perf_counter()
            work[name].append(answer(message))
            times[name].append(1e3 * (time.perf_counter() - start))
    rows = {}
    first = 0.0
    for name in callbacks:
        whole, own = (float(np.median(of[name][ROUNDS // 10 :])) for of in (times, work))
        first = first or own
        rows[name] = {
            "callback p50 [ms]": whole,
            "a second": 1000 / whole,
            "work p50 [ms]": own,
            "times": first / own,
        }
    return rows


def main() -> None:
    """Print a row for every engine."""
    rows = compare({Path(bundle).parent.name: Path(bundle) for bundle in sys.argv[1:]})
    figures = list(next(iter(rows.values())))
    print("| engine | " + " | ".join(figures) + " |", "|---" * (len(figures) + 1) + "|", sep="\n")
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{value:.4g}" for value in row.values()) + " |")


if __name__ == "__main__":
    main()
