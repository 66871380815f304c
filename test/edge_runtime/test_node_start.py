"""A node's program before and beside its work: start, end, its middleware, pictures for people."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from node_harness import Client, NodeProcess, image, wait_until
from sensor_msgs.msg import CompressedImage, Image

from edge_runtime.images import to_bgr

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("domain_id")]

MIB = 1024**2
_SEGMENT = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) .*(/dev/shm/fast(?:dds|rtps)_[0-9a-f]+)$", re.MULTILINE
)


def segments(pid: int) -> list[Path]:
    """Files of the shared memory from which Fast DDS sends and receives."""
    return [Path(name) for _, _, name in _SEGMENT.findall(Path(f"/proc/{pid}/maps").read_text())]


def largest_segment(pid: int) -> int:
    """Bytes of the largest shared-memory segment from which Fast DDS sends."""
    found = _SEGMENT.findall(Path(f"/proc/{pid}/maps").read_text())
    return max((int(end, 16) - int(start, 16) for start, end, _ in found), default=0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_node_that_configures(bundle_path: Path, number: signal.Signals) -> None:
    words = ["--ros-args", "-p", f"bundle:={bundle_path}", "-p", "load_s:=60.0"]
    with NodeProcess(*words) as node, Client() as client:
        wait_until(lambda: client.is_there("/brightness/picture"), "the node in its configuring")
        began = time.monotonic()
        assert node.end(number) == 0
        assert time.monotonic() - began < 5  # after which `ros2 launch` insists
        assert not node.matching("Traceback")


def test_nothing_stays_in_shared_memory_after_a_node(bundle_path: Path) -> None:
    words = ["--ros-args", "-p", f"bundle:={bundle_path}"]
    left: list[Path] = []
    for number in (signal.SIGKILL, signal.SIGINT):
        with NodeProcess(*words) as node:
            node.wait_for("serving mean")
            assert not any(segment.exists() for segment in left), "the killed node's is still there"
            left = segments(node.pid)
            if not left:
                pytest.skip("this middleware is not Fast DDS")
            node.end(number)
            for segment in left:
                if number == signal.SIGKILL:  # a node spares what is younger than some seconds
                    os.utime(f"{segment}_el", (0, 0))
    assert not any(segment.exists() for segment in left)


def test_pictures_wait_for_answers_and_never_the_other_way_round(bundle_path: Path) -> None:
    words = ["--ros-args", "-p", f"bundle:={bundle_path}", "-p", "draw_s:=1.0"]
    with NodeProcess(*words), Client() as client:
        client.wait_for_node()
        raw = client.watch("/brightness/picture", Image)
        jpeg = client.watch("/brightness/picture/compressed", CompressedImage)
        second = 10
        while not (raw and jpeg):  # until the node has found the viewers
            second += 1
            assert second < 40, "no pictures"
            client.ask(image(4, 4), second)
            time.sleep(0.3)
        began = time.monotonic()
        for second in range(50, 60):
            client.ask(image(4, 4), second)
        assert time.monotonic() - began < 1, "the answers waited for the pictures"
        for seen in (raw, jpeg):
            wait_until(lambda seen=seen: seen[-1].header.stamp.sec == 59, "the newest picture")
            assert to_bgr(seen[-1]).mean() == pytest.approx(100, abs=2)
            # Of those that came while one was drawn only the newest is.
            assert len([one for one in seen if one.header.stamp.sec >= 50]) <= 4


def test_the_nodes_middleware_holds_whole_pictures_unless_the_user_chose(
    bundle_path: Path,
) -> None:
    parameter = f"bundle:={bundle_path}"
    for variables, fits in (({}, True), ({"FASTDDS_BUILTIN_TRANSPORTS": "DEFAULT"}, False)):
        with NodeProcess("--ros-args", "-p", parameter, environment=variables) as node:
            node.wait_for("serving mean")
            segment = largest_segment(node.pid)
            if not segment:
                pytest.skip("this middleware is not Fast DDS")
            assert (segment > 16 * MIB) == fits, segment


def test_without_ros_a_node_says_what_is_missing_in_one_line() -> None:
    program = (
        "import sys; sys.modules['rclpy'] = None; from pose_fcn.pose_node import main; "
        "sys.exit(main(['/usr/bin/pose_node', '--help']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("pose_node: the Python module 'rclpy' is not installed: source")
