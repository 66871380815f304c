"""What cameras, clocks and clients do wrong: it costs no more than it must, and it is said."""

from __future__ import annotations

import itertools
import math
import signal
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from node_harness import Client, NodeProcess, image, stamp_message, wait_until
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

if TYPE_CHECKING:
    from pathlib import Path

    from geometry_msgs.msg import PointStamped

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("domain_id")]


def parameters(**values: object) -> list[str]:
    given = [f"{name}:={value}" for name, value in values.items()]
    return ["--ros-args", *(word for pair in given for word in ("-p", pair))]


def depth_image(metres: float, size: int = 4, encoding: str = "16UC1") -> Image:
    pixels = np.full(size * size, 1000 * metres, "<u2")
    return image(size, size, encoding, step=2 * size, data=pixels.tobytes())


def ask_with_depth(
    client: Client, depth: Image, stamp: float, depth_stamp: float, ahead_s: float = 0.0
) -> PointStamped:
    stamp_message(depth, depth_stamp)
    client.depth.publish(depth)
    time.sleep(ahead_s)
    return client.ask(image(4, 4), stamp)


def received_now(client: Client) -> int:
    client.diagnostics.clear()
    return int(client.counts("input")["received"])


def test_what_is_optional_costs_no_answer(bundle_path: Path) -> None:
    right = CameraInfo(width=4, height=4, k=[5.0, 0.0, 2.0, 0.0, 5.0, 2.0, 0.0, 0.0, 1.0])
    unusable = [
        (depth_image(1.5, 8), ["8x8, but the image is 4x4", "registered"], "depth size"),
        (depth_image(1.5, encoding="rgb8"), ["'rgb8' is not depth"], "depth encoding"),
        (
            depth_image(1.5, encoding="x" * 100_000),
            ["characters", "accepted are 16UC1"],
            "depth encoding",
        ),
    ]
    with NodeProcess(*parameters(bundle=bundle_path)) as node, Client() as client:
        client.wait_for_node()
        client.info.publish(right)
        time.sleep(0.3)
        seconds = itertools.count(1)

        def is_said(depth: Image, words: list[str], kind: str) -> bool:
            second = next(seconds)
            answer = ask_with_depth(client, depth, second, second, 0.2)
            assert answer.point.x == pytest.approx(100.0)
            assert math.isnan(answer.point.y)
            assert answer.point.z == 5.0
            status = client.status("input")
            if not all(word in status.message for word in words):
                return False
            assert status.level == DiagnosticStatus.WARN
            assert len(status.message) < 2000
            return int(client.counts("input")[f"incomplete: {kind}"]) > 0

        for case in unusable:
            wait_until(lambda c=case: is_said(*c), f"a warning with {case[1]}", node.lines)
        client.info.publish(CameraInfo(width=640, height=480, k=np.eye(3).ravel()))
        time.sleep(0.3)
        answer = ask_with_depth(client, depth_image(1.5), 1000, 1000, 0.2)
        assert answer.point.y == pytest.approx(1.5)
        assert math.isnan(answer.point.z)
        node.wait_for("[WARN]", "answered without it", "camera info is for 640x480")
        assert client.counts("input")["rejected"] == "0"
        assert all(len(line) < 2000 for line in node.lines)


def test_depth_of_another_clock_slows_nothing_and_is_reported(bundle_path: Path) -> None:
    with NodeProcess(*parameters(bundle=bundle_path)) as node, Client() as client:
        client.wait_for_node()
        waited = []
        for index in range(60):
            stamp = 5000 + index / 30
            begun = time.monotonic()
            assert math.isnan(ask_with_depth(client, depth_image(1), stamp, stamp - 3600).point.y)
            waited.append(time.monotonic() - begun)
            time.sleep(max(0.0, 1 / 30 - waited[-1]))
        assert np.median(waited[-30:]) < 0.1
        node.wait_for("[WARN]", "input 'depth'", "3600.0", "s behind", "synchronise the clocks")
        wait_until(lambda: "s behind" in client.status("input").message, "a warning of the clock")
        unmatched = "incomplete: depth unmatched"
        wait_until(lambda: int(client.counts("input")[unmatched]) > 30, "the last count")
        # Its clock is set right: found out by the first pair that would have matched.
        answers = [
            ask_with_depth(client, depth_image(2), 6000 + i / 30, 6000 + i / 30) for i in range(5)
        ]
        assert answers[-1].point.y == pytest.approx(2.0)


def test_images_without_stamps_are_all_answered_with_the_depth_of_the_moment(
    bundle_path: Path, shared_data: Path
) -> None:
    bag = shared_data / "field" / "bags" / "stamps_zero_depth"
    with AnyReader([bag], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
        recorded: list[Any] = [
            (at - reader.start_time, reader.deserialize(raw, connection.msgtype))
            for connection, at, raw in reader.messages()
        ]
    with NodeProcess(*parameters(bundle=bundle_path)) as node, Client() as client:
        client.wait_for_node()
        before = received_now(client)
        expected = []
        begun = time.monotonic()
        for after_ns, old in recorded:
            data = old.data.tobytes()
            message = image(old.width, old.height, old.encoding, step=old.step, data=data)
            time.sleep(max(0.0, begun + after_ns / 1e9 - time.monotonic()))
            if old.encoding == "16UC1":
                expected.append(old.data.view("<u2").mean() / 1000)
                client.depth.publish(message)
            else:
                client.image.publish(message)
        depths = [client.result().point.y for _ in expected]
        assert len(expected) == 12
        assert depths[2:] == pytest.approx(expected[2:], abs=1e-4)
        wait_until(lambda: int(client.counts("input")["received"]) == before + 12, "the last count")
        status = client.status("input")
        assert status.level == DiagnosticStatus.OK
        assert client.counts("input")["age"] == "unknown"
        assert not node.matching("[WARN]")


def test_a_camera_info_that_was_latched_before_is_received(bundle_path: Path) -> None:
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    with Client() as client:
        info = CameraInfo(width=4, height=4, k=[7.0, 0.0, 2.0, 0.0, 7.0, 2.0, 0.0, 0.0, 1.0])
        client.publisher(CameraInfo, "camera_info", latched).publish(info)
        with NodeProcess(*parameters(bundle=bundle_path)) as node:
            client.wait_for_node()
            seconds = itertools.count(1)
            wait_until(
                lambda: client.ask(image(4, 4), next(seconds)).point.z == 7.0, "the focal length"
            )
            assert not node.matching("incompatible")


def test_lost_images_are_counted_at_once_and_camera_infos_are_not(bundle_path: Path) -> None:
    with NodeProcess(*parameters(bundle=bundle_path)) as node, Client() as client:
        client.wait_for_node()
        client.ask(image(4, 4), 1)
        received = received_now(client)
        # While it sleeps, only the newest is kept of what is sent.
        node.signal(signal.SIGSTOP)
        for number in range(8):
            client.send(image(4, 4), 2 + number)
            for _ in range(5):
                client.info.publish(CameraInfo())
            time.sleep(0.01)
        node.signal(signal.SIGCONT)
        client.ask(image(4, 4), 20)
        node.wait_for("[WARN]", "lost images of /image: ", "docs/troubleshooting.md")

        def accounted() -> bool:
            counts = client.counts("input")
            return int(counts["received"]) - received + int(counts["lost"]) >= 9

        wait_until(accounted, "all nine images", client.diagnostics)
        counts = client.counts("input")
        assert int(counts["received"]) - received + int(counts["lost"]) == 9
        assert client.status("input").level == DiagnosticStatus.WARN
        assert "lost in the last seconds" in client.status("input").message


def test_no_clock_and_no_request_ends_the_node(bundle_path: Path) -> None:
    options = parameters(bundle=bundle_path, use_sim_time="true")
    with NodeProcess(*options) as node, Client() as client:
        client.wait_for_node()
        clock = client.publisher(Clock, "/clock", QoSProfile(depth=10))
        wait_until(clock.get_subscription_count, "the subscription to /clock")
        for again in range(2):
            if again:  # as at the start, after the parameter was set at run time
                assert client.set("use_sim_time", value=False) == ""
                assert client.set("use_sim_time", value=True) == ""
            for seconds, nanoseconds in [(5, 0), (-5, 0), (2**31 - 1, 2**32 - 1), (-(2**31), 7)]:
                message = Clock()
                message.clock.sec, message.clock.nanosec = seconds, nanoseconds
                clock.publish(message)
                time.sleep(0.1)
            client.ask(image(4, 4), 10 + again)
        node.wait_for("[WARN]", "/clock says -5 s", "allowed are 0 s to")

        ones = {"integer_value": 1, "double_value": 1.0}
        values = [ParameterValue(type=number, **ones) for number in (*range(12), 200)]
        for name, value in itertools.product(("gain", "use_sim_time", "", "nope"), values):
            changes = [Parameter(name=name, value=value)]
            for kind, service in (
                (SetParameters, "set_parameters"),
                (SetParametersAtomically, "set_parameters_atomically"),
            ):
                client.request(kind, service, kind.Request(parameters=changes))
        for kind, service in (
            (DescribeParameters, "describe_parameters"),
            (GetParameters, "get_parameters"),
        ):
            client.request(kind, service, kind.Request(names=["nope", "", "gain"]))
        client.request(ListParameters, "list_parameters", ListParameters.Request(depth=2**64 - 1))
        # Jazzy's rclpy raises at it, and answers nothing.
        create = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CREATE))
        client.request(ChangeState, "change_state", create)
        assert client.ask(image(4, 4), 20).point.x == pytest.approx(100.0)
        assert client.set("latency_budget_ms", 100) == ""
        assert client.set("gain", 2) == ""
        assert client.ask(image(4, 4), 21).point.x == pytest.approx(200.0)
        assert "10.0" in client.set("gain", 11)
        assert node.end(signal.SIGTERM) == 0
        assert not node.matching("Traceback")
