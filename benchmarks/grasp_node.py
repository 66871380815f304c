"""Whether the node `grasp` answers in time, and stays as small as it was.

    python benchmarks/grasp_node.py [--decisions 10000] [--rate 30] [--bundle DIR]

Starts `grasp_node` as a process of its own, with `mode: continuous` and a `retry_after` of 0, and
shows it 640x480 images of a pile, seen by a camera with faults; the next image follows the answer
to the last, or comes at `--rate`, answered or not. Twenty times in each tenth of them the pile is
another one. All outputs are listened to. Prints of each tenth how many images were answered, the
time from the stamp, which is taken before the image is sent, to the action's arrival, and the
memory that is resident in the node.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from trajectory_msgs.msg import MultiDOFJointTrajectory
from visualization_msgs.msg import MarkerArray

from edge_runtime.share import shipped_bundle
from edge_runtime.transport import profile_environment
from edge_worlds.tabletop.camera import REAL, oblique_camera, take_picture
from edge_worlds.tabletop.episode import millimetres
from edge_worlds.tabletop.robot_node import image_message, pose_text
from edge_worlds.tabletop.scene import random_pile
from edge_worlds.tabletop.world import TabletopWorld

if TYPE_CHECKING:
    from collections.abc import Iterator

PILES = 20
MB = 1 << 20
PATIENCE_S = 30.0
LAST_S = 1.0  # that the last answers of a tenth are waited for
WATCHED = {
    "grasp/action/push": PoseStamped,
    "grasp/action/grasp": PoseStamped,
    "grasp/heightmap": Image,
    "grasp/q_map": Image,
    "grasp/markers": MarkerArray,
}


class Viewer(Node):
    """Shows pictures, whose stamps count seconds; `times` [ms] is what their answers took."""

    def __init__(self) -> None:
        """Listen to everything that the node says."""
        super().__init__("viewer")
        self.times: dict[int, float] = {}
        self._sent: list[float] = []
        self._color = self.create_publisher(Image, "color", 1)
        self._depth = self.create_publisher(Image, "depth", 1)
        self._info = self.create_publisher(CameraInfo, "camera_info", 1)
        self.create_subscription(MultiDOFJointTrajectory, "grasp/action", self._hear, 10)
        for topic, kind in WATCHED.items():
            self.create_subscription(kind, topic, lambda _: None, 10)

    def _hear(self, action: Any) -> None:  # noqa: ANN401
        stamp = action.header.stamp.sec
        self.times[stamp] = 1e3 * (time.monotonic() - self._sent[stamp - 1])

    def show(self, color: Image, depth: Image, info: CameraInfo) -> int:
        """Publish a picture; return its stamp."""
        self._sent.append(time.monotonic())
        stamp = len(self._sent)
        for publisher, message in (
            (self._info, info),
            (self._depth, depth),
            (self._color, color),
        ):
            message.header.stamp.sec = stamp
            message.header.frame_id = "camera"
            publisher.publish(message)
        return stamp


def pictures() -> list[tuple[Image, Image, CameraInfo]]:
    """Look at some piles."""
    made = []
    for seed in range(PILES):
        rng = np.random.default_rng(seed)
        world = TabletopWorld(random_pile(rng, 6))
        seen = take_picture(world, oblique_camera(), REAL, rng)
        info = CameraInfo(height=480, width=640, k=seen.matrix.ravel(), d=[0.0] * 5)
        info.distortion_model = "plumb_bob"
        depth = image_message(millimetres(seen.depth), "16UC1")
        made.append((image_message(seen.color, "rgb8"), depth, info))
    return made


class Show:
    """Shows pictures one after the other and waits for what is said."""

    def __init__(self, viewer: Viewer, decisions: int) -> None:
        """Another pile comes twenty times in each tenth of the decisions."""
        self._viewer = viewer
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(viewer)
        self._pictures = pictures()
        self._each = max(decisions // 10 // PILES, 1)

    def close(self) -> None:
        """End the executor."""
        self._executor.shutdown()

    def answered(self, number: int) -> int:
        """Show a picture until it is answered, again every second; return its stamp."""
        stamps: list[int] = []
        begin = again = time.monotonic()
        while not any(stamp in self._viewer.times for stamp in stamps):
            now = time.monotonic()
            if now >= again:  # at first nobody is there yet
                stamps.append(self._next(number))
                again += 1
            self._executor.spin_once(timeout_sec=0.05)
            if now > begin + PATIENCE_S:
                sys.exit("the node does not answer")
        return next(stamp for stamp in stamps if stamp in self._viewer.times)

    def at_rate(self, first: int, count: int, rate: float) -> Iterator[int]:
        """Show so many pictures, answered or not; yield their stamps, and listen a little more."""
        begin = time.monotonic()
        for number in range(count):
            self._listen(begin + number / rate)
            yield self._next(first + number)
        self._listen(time.monotonic() + LAST_S)

    def _listen(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def _next(self, number: int) -> int:
        return self._viewer.show(*self._pictures[number // self._each % PILES])


def memory(pid: int) -> tuple[float, float]:
    """Return what is resident [MB]: of the process alone, and shared (DDS, libraries)."""
    found = psutil.Process(pid).memory_info()
    return (found.rss - found.shared) / MB, found.shared / MB


def main() -> None:
    """Ask for decisions, and tell of every tenth of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--decisions", type=int, default=10_000)
    parser.add_argument("--rate", type=float, help="of the images [Hz]")
    parser.add_argument("--bundle", type=Path, default=None)
    args = parser.parse_args()
    bundle = args.bundle or shipped_bundle("grasp")
    pose = pose_text(np.linalg.inv(oblique_camera().world_to_camera))
    given = {"bundle": bundle, "camera_pose": f'"{pose}"', "mode": "continuous", "retry_after": 0.0}
    words = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
    os.environ.update(profile_environment())
    node = subprocess.Popen(
        [sys.executable, "-m", "compressed_grasp.grasp_node", "--ros-args", *words]
    )
    rclpy.init()
    viewer = Viewer()
    show = Show(viewer, args.decisions)
    every = max(args.decisions // 10, 1)
    print("| images | answered [%] | to the action, p50 | p95 [ms] | own [MB] | shared [MB] |")
    print("|---|---|---|---|---|---|")
    try:
        show.answered(0)
        for first in range(0, args.decisions, every):
            if args.rate:
                stamps = list(show.at_rate(first, every, args.rate))
            else:
                stamps = [show.answered(first + k) for k in range(every)]
            times = [viewer.times[stamp] for stamp in stamps if stamp in viewer.times]
            p50, p95 = np.percentile(times, (50, 95))
            share = 100 * len(times) / len(stamps)
            cells = [share, p50, p95, *memory(node.pid)]
            print("|", first + every, *(f"| {cell:.1f}" for cell in cells), "|", flush=True)
    finally:
        node.terminate()
        node.wait()
        show.close()
        viewer.destroy_node()
        rclpy.shutdown()


if __name__ == "__main__":
    main()
