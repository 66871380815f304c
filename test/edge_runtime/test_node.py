"""The node base as its own process over DDS, with a real network behind it."""

from __future__ import annotations

import math
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_harness import Client, NodeProcess, image, stamp_message, wait_until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from edge_runtime.bundle import write_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("domain_id")]


def parameters(**values: object) -> list[str]:
    words = ["--ros-args"]
    for name, value in values.items():
        words += ["-p", f"{name}:={value}"]
    return words


def depth_image(metres: float, size: int = 4, encoding: str = "16UC1") -> Image:
    pixels = np.full(size * size, 1000 * metres, "<u2")
    return image(size, size, encoding, step=2 * size, data=pixels.tobytes())


def test_broken_messages_get_one_line_each_and_the_node_goes_on(bundle_path: Path) -> None:
    broken: list[tuple[Image, list[str]]] = [
        (image(4, 4, "16UC1"), ["'16UC1'", "accepted are bgr8"]),
        (image(4, 4, step=3), ["step 3", "at least 4"]),
        (image(4, 0), ["4x0", "at least 1"]),
        (image(4, 4, data=bytes(15)), ["15 bytes", "16 are needed"]),
        (image(1, 1), ["one pixel", "2x2 or more"]),
        (image(13, 13), ["RuntimeError: unlucky (brightness.py:"]),
    ]
    with NodeProcess(*parameters(bundle=bundle_path)) as node, Client() as client:
        client.wait_for_node()
        for number, (message, words) in enumerate(broken):
            client.send(message, 10 + number)
            node.wait_for(*words)
            answer = client.ask(image(4, 4), 10.5 + number)
            assert answer.point.x == pytest.approx(100.0)
            assert math.isnan(answer.point.y)
            assert answer.header.frame_id == "camera_optical"
        for _, words in broken:
            assert len(node.matching(*words)) == 1
        # The camera info of another stream costs no answer; then the right one.
        client.info.publish(CameraInfo(width=640, height=480, k=np.eye(3).ravel()))
        time.sleep(0.3)
        client.ask(image(4, 4), 20)
        node.wait_for("camera info is for 640x480", "image is 4x4")
        client.info.publish(CameraInfo(width=8, height=8, binning_x=2, binning_y=2, k=[1.0] * 9))
        time.sleep(0.3)
        client.ask(image(4, 4), 21)
        client.info.publish(CameraInfo())
        time.sleep(0.3)
        # A bag that plays in a loop: the first image after the jump is lost, no more.
        client.send(image(4, 4), 5)
        node.wait_for("stamp went back by 16.000 s")
        assert client.ask(image(4, 4), 6).header.stamp.sec == 6
        big = image(3840, 2160, "bgr8")
        assert client.ask(big, 7).point.x == pytest.approx(100.0, rel=0.05)

        def counted(part: str) -> dict[str, str]:
            return {v.key: v.value for v in client.status(part).values}

        wait_until(lambda: "rejected: stamp" in counted("input"), "the last count")
        rejected = counted("input")
        assert counted("inference")["failed"] == "1"
        for kind in ("encoding", "step", "size", "data", "too small", "stamp"):
            assert rejected[f"rejected: {kind}"] == "1"
        assert rejected["incomplete: camera info"] == "1"
        assert node.end(signal.SIGINT) == 0
        assert not node.matching("Traceback")
        assert len(node.matching("[WARN]")) == 7
        assert len(node.matching("[ERROR]")) == 1


def test_damaged_bundles_leave_it_unconfigured_until_one_is_whole(
    bundle_path: Path, tmp_path: Path
) -> None:
    def damaged(name: str) -> Path:
        return shutil.copytree(bundle_path, tmp_path / name)

    manifest = (bundle_path / "manifest.json").read_text()
    flipped = damaged("flipped") / "fp32.onnx"
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    (damaged("missing") / "fp32.onnx").unlink()
    (damaged("skill") / "manifest.json").write_text(manifest.replace('"brightness"', '"grasp"'))
    (damaged("models") / "manifest.json").write_text(
        manifest.replace('"brightness": {', '"darkness": {')
    )
    (damaged("newer") / "manifest.json").write_text(
        manifest.replace('"schema_version": 3', '"schema_version": 4')
    )
    expected = {
        "nowhere": "no engine bundle",
        "flipped": "fp32.onnx was altered",
        "missing": "fp32.onnx: No such file",
        "skill": "is for the skill 'grasp', not 'brightness'",
        "models": "has the models darkness, not brightness",
        "newer": "newer version",
    }
    with NodeProcess() as node, Client() as client:
        node.wait_for("no engine bundle at", "compress run")
        for name, words in expected.items():
            assert client.set("bundle", str(tmp_path / name)) == ""
            assert not client.change("configure")
            assert client.state() == "unconfigured"
            node.wait_for("configure failed", str(tmp_path / name), words)
        wait_until(lambda: "newer version" in client.status("inference").message, "the reason")
        assert client.status("inference").level == DiagnosticStatus.ERROR
        assert client.set("bundle", str(bundle_path)) == ""
        for step, state in (
            ("configure", "inactive"),
            ("activate", "active"),
            ("deactivate", "inactive"),
            ("activate", "active"),
        ):
            assert client.change(step)
            assert client.state() == state
        client.wait_for_node()
        assert client.ask(image(4, 4), 1).point.x == pytest.approx(100.0)
        assert "clean it up" in client.set("bundle", "elsewhere")
        assert client.change("deactivate")
        assert client.change("cleanup")
        assert client.set("bundle", "elsewhere") == ""
        assert len(node.matching("[ERROR]")) == len(expected) + 1
        assert node.end(signal.SIGTERM) == 0


def test_every_model_of_a_bundle_is_opened_and_described(
    tmp_path: Path, make_manifest: Callable[..., Any], mean_graph: bytes
) -> None:
    one = make_manifest()
    [engine] = one.engines.values()
    models = {
        name: one.model.model_copy(update={"engines": {f"{name}/fp32.onnx": engine}})
        for name in ("brightness", "second")
    }
    manifest = make_manifest(models=models)
    path = write_bundle(
        tmp_path / "two", manifest, {f"{name}/fp32.onnx": mean_graph for name in models}
    ).path
    with NodeProcess(*parameters(bundle=path)) as node, Client() as client:
        node.wait_for("serving mean", "second file second/fp32.onnx")
        client.wait_for_node()
        assert client.ask(image(4, 4), 1).point.x == pytest.approx(100.0)
        wait_until(lambda: "second provider" in client.counts("inference"), "both in diagnostics")
        assert client.counts("inference")["brightness file"] == "brightness/fp32.onnx"


def test_answers_that_are_not_finite_are_failures_of_the_inference(
    bundle_path: Path, make_manifest: Callable[..., Any], dazzled_graph: bytes
) -> None:
    write_bundle(bundle_path, make_manifest(), {"fp32.onnx": dazzled_graph})
    bright = image(4, 4, data=bytes([200]) * 16)
    with NodeProcess(*parameters(bundle=bundle_path)) as node, Client() as client:
        client.wait_for_node()
        client.send(bright, 1)
        node.wait_for("frame failed", "fp32.onnx answers NaN or infinite numbers in 'mean'")
        assert client.ask(image(4, 4), 2).point.x == pytest.approx(100.0)
        stamps = iter(range(3, 1000))

        def told() -> bool:
            client.send(bright, next(stamps))
            time.sleep(0.2)
            return "fp32.onnx answers NaN" in client.status("inference").message

        wait_until(told, "the failure in the diagnostics")
        assert client.status("inference").level == DiagnosticStatus.ERROR
        assert client.results.empty()


def test_wrong_parameters_are_refused_with_what_is_allowed(bundle_path: Path) -> None:
    wrong = {"bundel": bundle_path, "threads": -1, "provider": "tpu", "gain": 2}
    with NodeProcess(*parameters(bundle=bundle_path, **wrong)) as node, Client() as client:
        line = node.wait_for("configure failed")
        for words in (
            "parameter 'threads' is -1: allowed are 0 to 256",
            "parameter 'provider' is 'tpu': allowed are 'auto' or 'tensorrt' or 'cuda' or 'cpu'",
            "unknown parameter 'bundel': allowed are autostart, bundle,",
        ):
            assert words in line
        assert client.state() == "unconfigured"
        assert "allowed are autostart, bundle" in client.set("bundel", "x")
        assert "auto" in client.set("provider", "tpu")
        assert "256" in client.set("threads", 300)
        assert "read-only" in client.set("autostart", value=False)
        # Whoever configures now means the values that hold: the defaults, and an integer gain.
        assert client.change("configure")
        assert client.change("activate")
        client.wait_for_node()
        assert client.ask(image(4, 4), 1).point.x == pytest.approx(200.0)
        assert client.set("gain", 3.0) == ""
        assert client.ask(image(4, 4), 2).point.x == pytest.approx(300.0)


def test_usage_errors_and_help_end_at_once() -> None:
    with NodeProcess("--help") as node:
        assert node.wait() == 0
    assert node.matching("latency_budget_ms", "default 0.0")
    with NodeProcess("--version") as node:
        assert node.wait() == 0
    assert node.matching("compressed_grasp ", "Python ")
    with NodeProcess("--ros-args", "-p", "nonsense") as node:
        assert node.wait() == 2
    assert len(node.lines) == 1
    with NodeProcess("--ros-args", "-r", "__node:=bad-name") as node:
        assert node.wait() == 2
    assert len(node.lines) == 1
    assert "'-r __node:=bad-name': accepted after --ros-args are" in node.lines[0]


def test_the_newest_frame_wins_and_the_others_are_counted(bundle_path: Path) -> None:
    with NodeProcess(*parameters(bundle=bundle_path, delay_s=0.3)) as node, Client() as client:
        client.wait_for_node()
        assert client.set("latency_budget_ms", 100.0) == ""
        for number in range(2000):  # 200 Hz for 10 s
            client.send(image(4, 4), 1 + number / 200)
            time.sleep(1 / 200)
        last = image(4, 4)
        client.ask(last, 100)
        answers = [m.header.stamp.sec + m.header.stamp.nanosec * 1e-9 for m in client.results.queue]
        assert answers == sorted(answers)
        wait_until(lambda: "dropped" in client.status("input").message, "a warning of drops")
        assert client.status("input").level == DiagnosticStatus.WARN
        counts = {v.key: v.value for v in client.status("input").values}
        assert int(counts["dropped"]) > 100
        assert client.status("inference").level == DiagnosticStatus.WARN
        assert "budget of 100 ms" in client.status("inference").message
        assert node.is_alive()


def test_diagnostics_and_latency_say_what_is_going_on(bundle_path: Path) -> None:
    with NodeProcess(*parameters(bundle=bundle_path)), Client() as client:
        client.wait_for_node()
        answer = client.ask(image(4, 4), 3.25)

        def of_answer() -> list[DiagnosticArray]:
            return [message for message in client.latency if message.header == answer.header]

        wait_until(of_answer, "the latency")
        latency = of_answer()[0]
        assert latency.header == answer.header
        stages = {v.key: float(v.value) for v in latency.status[0].values}
        assert list(stages) == ["queue", "decode", "preprocess", "engine", "publish", "total"]
        assert all(ms >= 0 for ms in stages.values())
        assert sum(stages.values()) <= 2 * stages["total"] + 0.01
        wait_until(lambda: client.status("input").message == "receiving", "input")
        values = {v.key: v.value for v in client.status("inference").values}
        assert values["state"] == "active"
        assert values["provider"] == "cpu"
        assert len(values["bundle hash"]) == 64
        assert values["resident memory"].endswith("MiB")
        assert float(values["total p99"].removesuffix(" ms")) > 0
        wait_until(lambda: client.status("input").level == DiagnosticStatus.STALE, "STALE")
        assert "no message on /image for" in client.status("input").message


def test_depth_is_paired_by_stamp_and_waited_for_while_it_comes(bundle_path: Path) -> None:
    with NodeProcess(*parameters(bundle=bundle_path, slop=0.01)), Client() as client:
        client.wait_for_node()
        depth = depth_image(1.5)
        stamp_message(depth, 1.005)
        client.depth.publish(depth)
        time.sleep(0.2)
        answer = client.ask(image(4, 4), 1.0)
        assert answer.point.y == pytest.approx(1.5)
        client.send(image(4, 4), 2.0)
        stamp_message(depth, 2.0)
        client.depth.publish(depth)
        assert client.result().point.y == pytest.approx(1.5)
        # Depth that never comes: the last image of a recording is answered without it.
        assert math.isnan(client.ask(image(4, 4), 2.1).point.y)


def test_inputs_on_one_topic_under_a_namespace(bundle_path: Path) -> None:
    options = [*parameters(bundle=bundle_path), "-r", "depth:=image", "-r", "__ns:=/left"]
    options += ["-r", "/left/image:=/image", "-r", "/left/camera_info:=/camera_info"]
    with NodeProcess(*options), Client(namespace="/left") as client:
        subscriptions = client.image.get_subscription_count
        wait_until(lambda: subscriptions() == 2, "both subscriptions")
        wait_until(lambda: client.diagnostics, "diagnostics")
        names = [status.name for status in client.diagnostics[-1].status]
        assert names == ["left/brightness: input", "left/brightness: inference"]
        assert client.change("deactivate")
        wait_until(lambda: subscriptions() == 0, "the end of both subscriptions")


def test_best_effort_publishers_are_heard_too(bundle_path: Path) -> None:
    with NodeProcess(*parameters(bundle=bundle_path)), Client(reliable=False) as client:
        client.wait_for_node()
        stamps = iter(range(1, 1000))

        def answered() -> bool:
            client.send(image(4, 4), next(stamps))
            return not client.results.empty()

        wait_until(answered, "an answer to a best-effort image")


def test_compressed_images_come_from_their_own_topic(bundle_path: Path) -> None:
    jpeg = cv2.imencode(".jpg", np.full((8, 8, 3), 50, np.uint8))[1].tobytes()
    options = parameters(bundle=bundle_path, image_transport="compressed")
    with NodeProcess(*options) as node, Client(compressed=True) as client:
        client.wait_for_node()
        stamps = iter(range(1, 1000))

        def answered() -> bool:
            client.send(CompressedImage(format="jpeg", data=jpeg), next(stamps))
            return not client.results.empty()

        wait_until(answered, "an answer to a compressed image")
        assert client.result().point.x == pytest.approx(50.0, abs=1)
        client.send(CompressedImage(format="jpeg", data=jpeg[:100]), next(stamps))
        node.wait_for("'jpeg', 100 bytes", "cannot be decoded")
