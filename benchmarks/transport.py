"""What the middleware loses between a camera, the node `arm_pose` and a viewer, on one machine.

    python benchmarks/transport.py

The camera, the node and the viewer are processes of their own. Prints two tables: how many images
of each size the node received, by the camera's reliability and by who has config/fastdds.xml; and
the answers and their delay (image published to keypoints received, by the camera) while somebody
watches the overlay.
"""

from __future__ import annotations

import argparse
import array
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from edge_replay.cdr import restamped
from edge_replay.domain import private_domain
from edge_runtime.transport import profile_environment

SIZES = {"480p": (640, 480), "720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}
RELIABILITY = {"reliable": ReliabilityPolicy.RELIABLE, "best effort": ReliabilityPolicy.BEST_EFFORT}
WHO = {"nobody": (), "node": ("node",), "both": ("node", "camera", "viewer")}
# A transport that the user has chosen, here the usual one, keeps the profile away.
USUAL = {"FASTDDS_BUILTIN_TRANSPORTS": "DEFAULT"}
OVERLAY = "/arm_pose/overlay"
VIEWERS = ("", OVERLAY, f"{OVERLAY}/compressed")
_SECOND = 1_000_000_000


def picture(width: int, height: int) -> bytes:
    """Return a serialised image of coloured squares."""
    squares = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    pixels = squares.repeat(8, axis=0).repeat(8, axis=1)
    data = array.array("B", pixels.tobytes())
    image = Image(width=width, height=height, encoding="bgr8", step=3 * width, data=data)
    return serialize_message(image)


def camera(size: str, reliability: str, hz: float, seconds: float) -> dict[str, Any]:
    """Publish images, and return how many of them came to the node, and when they were answered."""
    rclpy.init()
    node = rclpy.create_node("camera")
    qos = QoSProfile(depth=5, reliability=RELIABILITY[reliability])
    publisher = node.create_publisher(Image, "image", qos)
    answers: dict[int, int] = {}
    received = [0]

    def answered(cloud: PointCloud2) -> None:
        stamp = cloud.header.stamp
        answers[stamp.sec * _SECOND + stamp.nanosec] = time.time_ns()

    def diagnosed(message: DiagnosticArray) -> None:
        values = {pair.key: pair.value for status in message.status for pair in status.values}
        received.append(int(values["received"]))

    node.create_subscription(PointCloud2, "/arm_pose/keypoints", answered, 1000)
    node.create_subscription(DiagnosticArray, "/diagnostics", diagnosed, 10)
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def listen(until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            executor.spin_once(timeout_sec=left)

    message = picture(*SIZES[size])
    while not publisher.get_subscription_count():
        listen(time.monotonic() + 0.1)
    listen(time.monotonic() + 2.0)  # both ends have to know of the match
    sent = []
    begin = time.monotonic()
    for index in range(round(hz * seconds)):
        listen(begin + index / hz)
        sent.append(time.time_ns())
        publisher.publish(restamped(message, sent[-1]))
    listen(time.monotonic() + 2.5)  # the last answers and the next diagnostics
    delays = [(answers[stamp] - stamp) / 1e6 for stamp in sent if stamp in answers]
    p50, p99 = np.percentile(delays, (50, 99)) if delays else (np.nan, np.nan)
    counts = {"sent": len(sent), "received": received[-1], "answered": len(delays)}
    return {**counts, "p50": float(p50), "p99": float(p99)}


def viewer(topic: str) -> dict[str, Any]:
    """Watch a topic reliably until SIGINT, and return how many pictures came."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("viewer")
    over, seen = [False], [0]

    def see(_: Any) -> None:  # noqa: ANN401
        seen[0] += 1

    def end(*_: object) -> None:
        over[0] = True

    signal.signal(signal.SIGINT, end)
    node.create_subscription(CompressedImage if "compressed" in topic else Image, topic, see, 5)
    while not over[0]:
        rclpy.spin_once(node, timeout_sec=0.2)
    return {"seen": seen[0]}


def run(
    size: str, reliability: str, hz: float, seconds: float, *, who: str, topic: str = ""
) -> dict[str, Any]:
    """Start the processes, let the camera publish, and return what was counted."""
    profile = profile_environment()
    with private_domain(), ExitStack() as stack:

        def start(role: str, *words: object) -> subprocess.Popen[str]:
            environment = dict(os.environ)
            if role not in WHO[who]:
                environment = {k: v for k, v in environment.items() if k not in profile} | USUAL
            process = subprocess.Popen(
                [sys.executable, *map(str, words)],
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        start("node", "-m", "pose_fcn.pose_node")
        watching = start("viewer", __file__, "--viewer", topic) if topic else None
        words = ("--camera", size, reliability, hz, seconds)
        counted = json.loads(start("camera", __file__, *words).communicate()[0])
        if watching:
            watching.send_signal(signal.SIGINT)
            counted |= json.loads(watching.communicate()[0])
        return counted


def transport_table(seconds: float) -> None:
    """Print how many images came, by size, reliability and profile."""
    columns = [(reliability, who) for reliability in RELIABILITY for who in WHO]
    print("| | " + " | ".join(f"{how}, profile: {who}" for how, who in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for size in SIZES:
        hz = 10.0 if size == "4K" else 30.0
        cells = [run(size, how, hz, seconds, who=who) for how, who in columns]
        shares = [f"{cell['received']} of {cell['sent']}" for cell in cells]
        print(f"| {size}, {hz:g} Hz | " + " | ".join(shares) + " |", flush=True)


def viewer_table(seconds: float) -> None:
    """Print what watching costs, at 640x480."""
    print("\n| Hz | watched | profile | answered | p50 [ms] | p99 [ms] | pictures seen |")
    print("|---" * 7 + "|")
    for hz in (30.0, 2.0):
        for who in WHO:
            for topic in VIEWERS:
                c = run("480p", "reliable", hz, seconds, who=who, topic=topic)
                figures = f"{c['answered']} of {c['sent']} | {c['p50']:.1f} | {c['p99']:.1f}"
                seen = f"{c['seen']}" if topic else "-"
                print(f"| {hz:g} | {topic or '-'} | {who} | {figures} | {seen} |", flush=True)


def main() -> None:
    """Run it all, or one of the processes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--camera", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--viewer", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.camera:
        size, reliability, hz, seconds = args.camera
        print(json.dumps(camera(size, reliability, float(hz), float(seconds))))
    elif args.viewer:
        print(json.dumps(viewer(args.viewer)))
    else:
        transport_table(args.seconds)
        viewer_table(args.seconds)


if __name__ == "__main__":
    main()
