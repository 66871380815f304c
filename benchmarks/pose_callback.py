"""How many camera messages a second the arm-pose callback could answer, without DDS around it.

    python benchmarks/pose_callback.py BUNDLE [BUNDLE ...]

One 640x480 bgr8 message through decoding, estimation and the making of the answer, back to back;
the engines in turns, so that a busy machine slows all of them alike.
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
from edge_worlds.arm.model import Arm
from edge_worlds.arm.scene import SceneSampler
from pose_fcn.estimator import PoseEstimator
from pose_fcn.messages import keypoint_cloud

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 200


def camera_message() -> Image:
    """Render one picture of the own arm as a camera would publish it."""
    picture = SceneSampler(Arm(), (640, 480)).sample(np.random.default_rng(0)).bgr
    message = Image(height=480, width=640, encoding="bgr8", step=1920)
    message.data = array.array("B", picture.tobytes())
    return message


def callback(bundle: Path, precision: str) -> Callable[[Image], None]:
    """Return what the node does with a message, but for publishing."""
    loaded = load_bundle(bundle, "pose")
    estimator = PoseEstimator.from_bundle(loaded, open_engine(loaded, precision=precision).run)
    nowhere = np.full((len(estimator.names), 3), np.nan, np.float32)

    def answer(message: Image) -> None:
        keypoints = estimator.estimate(to_bgr(message))
        keypoint_cloud(keypoints, nowhere, message.header)

    return answer


def main() -> None:
    """Time every engine of every bundle."""
    message = camera_message()
    callbacks = {
        f"{bundle} {precision}": callback(Path(bundle), precision)
        for bundle in sys.argv[1:]
        for precision in ("fp32", "int8")
    }
    times: dict[str, list[float]] = {name: [] for name in callbacks}
    for _ in range(ROUNDS):
        for name, answer in callbacks.items():
            start = time.perf_counter()
            answer(message)
            times[name].append(1e3 * (time.perf_counter() - start))
    for name, samples in times.items():
        median = float(np.median(samples[ROUNDS // 10 :]))
        print(f"{name}: p50 {median:.2f} ms, {1000 / median:.0f} a second")


if __name__ == "__main__":
    main()
