"""A `slam` node as its own process, and a client that shows it a walk over DDS."""

from __future__ import annotations

import array
import queue
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from onnx import TensorProto, helper
from rclpy.executors import SingleThreadedExecutor
from recordings import BASELINE, CAMERA, SECOND, SIZE
from sensor_msgs.msg import CameraInfo, Image
from slam_process import shots, stamp_of_shot
from std_srvs.srv import Trigger

from edge_runtime.bundle import EngineFile, Manifest, Model, Source, TensorSpec, write_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_S = 60
PROGRAM = Path(__file__).with_name("slam_process.py")


def stand_in_bundle(folder: Path) -> Path:
    """Write a bundle whose networks are opened and never asked."""
    shape = (1, 3, SIZE[1], SIZE[0])
    node = helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0)
    graph = helper.make_graph(
        [node],
        "mean",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, (1,))],
    )
    opset = [helper.make_opsetid("", 17)]
    data = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    onnx.checker.check_model(data)
    file = EngineFile(
        precision="fp32", parameters=0, macs=0, bytes=len(data), accuracy={}, latency_ms={}
    )
    models = {
        name: Model(
            inputs=[TensorSpec(name="image", shape=shape, dtype="float32")],
            outputs=[TensorSpec(name="mean", shape=(1,), dtype="float32")],
            engines={f"{name}/fp32.onnx": file},
            examples=[{"image": shape}],
        )
        for name in ("fnet", "cnet", "update", "damping")
    }
    manifest = Manifest(
        skill="slam",
        name="stand_in",
        models=models,
        names=[],
        settings={},
        source=Source(checkpoint_sha256="", recipe={}, recipe_sha256="", calibration="none"),
        tools={},
        host={},
        created="2026-01-01T00:00:00+00:00",
    )
    return write_bundle(folder, manifest, {f"{name}/fp32.onnx": data for name in models}).path


class Slam:
    """A running node and what came from it; `lines` is what it has written so far."""

    def __init__(self, process: subprocess.Popen[str], namespace: str) -> None:
        self.process = process
        self.lines: list[str] = []
        self.odometry: queue.Queue[Odometry] = queue.Queue()
        self.poses: list[PoseWithCovarianceStamped] = []
        self.diagnostics: list[DiagnosticArray] = []
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node("client", context=self._context, namespace=namespace)
        make = self.node.create_publisher
        self.image, self.depth = make(Image, "image", 10), make(Image, "depth", 10)
        self.right = make(Image, "right/image", 10)
        self.info = make(CameraInfo, "camera_info", 10)
        self.right_info = make(CameraInfo, "right/camera_info", 10)
        self.node.create_subscription(Odometry, "slam/odometry", self.odometry.put, 100)
        self.node.create_subscription(
            PoseWithCovarianceStamped, "slam/pose", self.poses.append, 100
        )
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self.diagnostics.append, 10)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._clients = {
            name: self.node.create_client(Trigger, f"slam/{name}")
            for name in ("reset", "save_map", "load_map")
        }
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._spin),
            threading.Thread(target=self._read),
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def ready(self, *publishers: Any) -> None:  # noqa: ANN401
        """Wait until the node hears the publishers, and is heard."""
        self.until(lambda: all(one.get_subscription_count() for one in publishers), "listening")
        topic = self.node.resolve_topic_name("slam/odometry")
        self.until(lambda: self.node.count_publishers(topic), "odometry")
        time.sleep(0.3)

    def show(
        self,
        index: int,
        at: float | None = None,
        *,
        bgr: np.ndarray | None = None,
        depth: np.ndarray | Literal["own"] | None = "own",
        right: bool = False,
    ) -> int:
        """Send a shot of the walk, and return its stamp.

        Args:
            index: of the shot.
            at: seconds; None is its own time in the walk.
            bgr: another picture for it.
            depth: another depth for it, or None.
            right: whether the right picture comes, too.
        """
        shot, stamp = shots()[index], stamp_of_shot(index, at)
        measured = shot.depth if isinstance(depth, str) else depth
        if measured is not None:
            self.depth.publish(message(measured, "32FC1", stamp))
        if right:
            self.right.publish(message(shot.bgr, "bgr8", stamp))
        self.image.publish(message(shot.bgr if bgr is None else bgr, "bgr8", stamp))
        return stamp

    def ask(self, index: int, at: float | None = None, **how: Any) -> Odometry:  # noqa: ANN401
        """Send a shot, and return its odometry."""
        stamp = self.show(index, at, **how)
        while stamp_of(answer := self.answer()) != stamp:
            pass
        return answer

    def begin(self, index: int, **how: Any) -> None:  # noqa: ANN401
        """Have a map begin with a shot.

        Of the very first image nobody knows whether depth, or a right one, will come with it.
        """
        while self.told().get("keyframes in memory", "0") == "0":
            self.show(index, **how)
        while not self.odometry.empty():
            self.odometry.get()

    def matching(self, words: str) -> list[str]:
        return [line for line in self.lines if words in line]

    def answer(self) -> Odometry:
        try:
            return self.odometry.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise AssertionError("\n".join(self.lines)) from None

    def calibrate(self, **changes: Any) -> None:  # noqa: ANN401
        """Send camera infos, and let them arrive."""
        self.info.publish(camera_info(**changes))
        self.right_info.publish(camera_info(BASELINE[0].item(), **changes))
        time.sleep(0.3)

    def call(self, name: str) -> Any:  # noqa: ANN401
        client = self._clients[name]
        assert client.wait_for_service(PATIENCE_S)
        future = client.call_async(Trigger.Request())
        self.until(future.done, name)
        return future.result()

    def told(self, part: str = "inference") -> dict[str, str]:
        """Return what the next diagnostics say, the message too."""
        self.diagnostics.clear()
        self.until(lambda: self.diagnostics, "diagnostics")
        [status] = [s for s in self.diagnostics[-1].status if s.name.endswith(f"slam: {part}")]
        return {"message": status.message, **{v.key: v.value for v in status.values}}

    def until(self, true: Callable[[], object], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not true():
            assert self.process.poll() is None, f"the node ended: {self.lines}"
            assert time.monotonic() < end, f"waited in vain for {what}: {self.lines}"
            time.sleep(0.02)

    def _spin(self) -> None:
        while not self._stop.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def _read(self) -> None:
        for line in self.process.stderr or ():
            self.lines.append(line.rstrip())


@contextmanager
def slam_node(bundle: Path, *parameters: str, namespace: str = "") -> Iterator[Slam]:
    """Run the node with parameters such as "camera_mode:=mono"."""
    given = [f"bundle:={bundle}", *parameters]
    words = [word for parameter in given for word in ("-p", parameter)]
    if namespace:
        words += ["-r", f"__ns:={namespace}"]
    process = subprocess.Popen(
        [sys.executable, PROGRAM, "--ros-args", *words], stderr=subprocess.PIPE, text=True
    )
    slam = Slam(process, namespace)
    try:
        yield slam
    finally:
        slam.close()


def message(values: np.ndarray, encoding: str, stamp: int) -> Image:
    values = np.ascontiguousarray(values)
    image = Image(height=values.shape[0], width=values.shape[1], encoding=encoding)
    image.header.frame_id = "camera_optical"
    image.header.stamp.sec, image.header.stamp.nanosec = divmod(stamp, SECOND)
    image.step = values.strides[0]
    image.data = array.array("B", values.tobytes())
    return image


def camera_info(offset: float = 0.0, size: tuple[int, int] = SIZE, zoom: float = 1.0) -> CameraInfo:
    """Of the walk's camera; `offset` of the right one, metres along x."""
    info = CameraInfo(width=size[0], height=size[1], distortion_model="plumb_bob")
    info.header.frame_id = "camera_optical"
    matrix = CAMERA.matrix * [[zoom], [zoom], [1.0]]
    info.k = matrix.ravel().tolist()
    info.r = np.eye(3).ravel().tolist()
    shift = [matrix[0, 0] * offset, 0.0, 0.0]
    info.p = np.column_stack([matrix, shift]).ravel().tolist()
    return info


def stamp_of(answer: Odometry | PoseWithCovarianceStamped) -> int:
    return answer.header.stamp.sec * SECOND + answer.header.stamp.nanosec


def position(answer: Odometry | PoseWithCovarianceStamped) -> np.ndarray:
    place = answer.pose.pose.position
    return np.array([place.x, place.y, place.z])
