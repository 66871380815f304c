"""Whether the node `grasp` stays as small as it was, over thousands of decisions.

    python benchmarks/grasp_memory.py [--decisions 10000] [--bundle DIR]

Starts `grasp_node` as a process of its own, with `mode: continuous` and a `retry_after` of 0, and
shows it 640x480 images of a pile, seen by a camera with faults; the next image follows the answer
to the last. Every few hundred images the pile is another one. All outputs are listened to. Prints
the memory that is resident in the node, and the median time from an image's publication to its
action, of each tenth of the decisions.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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

PILES = 20
MB = 1 << 20
PATIENCE_S = 30.0
WATCHED = {
    "grasp/action/push": PoseStamped,
    "grasp/action/grasp": PoseStamped,
    "grasp/heightmap": Image,
    "grasp/q_map": Image,
    "grasp/markers": MarkerArray,
}


class Viewer(Node):
    """Shows pictures, one after the other; `answered` is the stamp of the last action."""

    def __init__(self) -> None:
        """Listen to everything that the node says."""
        super().__init__("viewer")
        self.answered = -1
        self._color = self.create_publisher(Image, "color", 1)
        self._depth = self.create_publisher(Image, "depth", 1)
        self._info = self.create_publisher(CameraInfo, "camera_info", 1)
        self.create_subscription(MultiDOFJointTrajectory, "grasp/action", self._hear, 10)
        for topic, kind in WATCHED.items():
            self.create_subscription(kind, topic, lambda _: None, 10)

    def _hear(self, action: Any) -> None:  # noqa: ANN401
        self.answered = action.header.stamp.sec

    def show(self, color: Image, depth: Image, info: CameraInfo, stamp: int) -> None:
        """Publish a picture."""
        for publisher, message in (
            (self._info, info),
            (self._depth, depth),
            (self._color, color),
        ):
            message.header.stamp.sec = stamp
            message.header.frame_id = "camera"
            publisher.publish(message)


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


def memory(pid: int) -> tuple[float, float]:
    """Return what is resident [MB]: of the process alone, and shared (DDS, libraries)."""
    found = psutil.Process(pid).memory_info()
    return (found.rss - found.shared) / MB, found.shared / MB


def main() -> None:
    """Ask for decisions, and tell of every tenth of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--decisions", type=int, default=10_000)
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
    viewer, executor = Viewer(), SingleThreadedExecutor()
    executor.add_node(viewer)
    shown = pictures()
    every = max(args.decisions // 10, 1)
    times: list[float] = []
    stamp = 0
    print("| decisions | own [MB] | shared [MB] | to the action [ms] |\n|---|---|---|---|")
    try:
        for number in range(args.decisions):
            begin = again = time.monotonic()
            color, depth, info = shown[number // max(every // PILES, 1) % PILES]
            first = stamp + 1
            while viewer.answered < first:
                if time.monotonic() >= again:  # at first nobody is there yet
                    stamp += 1
                    viewer.show(color, depth, info, stamp)
                    again += 1
                executor.spin_once(timeout_sec=0.05)
                if time.monotonic() > begin + PATIENCE_S:
                    sys.exit("the node does not answer")
            times.append(1e3 * (time.monotonic() - begin))
            if (number + 1) % every == 0:
                cells = [*memory(node.pid), np.median(times[-every:])]
                print("|", number + 1, *(f"| {cell:.1f}" for cell in cells), "|", flush=True)
    finally:
        node.terminate()
        node.wait()
        executor.shutdown()
        viewer.destroy_node()
        rclpy.shutdown()


if __name__ == "__main__":
    main()
