"""`grasp_node` as its own process, and a client that shows it tables over DDS."""

from __future__ import annotations

import array
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_srvs.srv import Trigger
from trajectory_msgs.msg import MultiDOFJointTrajectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from typing_extensions import Self

PATIENCE_S = 30
_UNDER_WAY = ("no image yet", "no usable camera info")
CAMERA_HEIGHT = 0.7  # metres; it looks straight down on the origin
CAMERA_POSE = f"0 0 {CAMERA_HEIGHT} 1 0 0 0"
WIDTH, HEIGHT = 320, 240
MATRIX = np.array([[300.0, 0, 159.5], [0, 300, 119.5], [0, 0, 1]])


def table(*blocks: tuple[float, float], size: float = 0.04, height: float = 0.05) -> np.ndarray:
    """Depth image [m] of a table with cubes at x and y, as a camera straight above sees them."""
    depth = np.full((HEIGHT, WIDTH), CAMERA_HEIGHT, np.float32)
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    top = CAMERA_HEIGHT - height
    x, y = (u - MATRIX[0, 2]) / 300 * top, -(v - MATRIX[1, 2]) / 300 * top
    for middle in blocks:
        inside = (np.abs(x - middle[0]) < size / 2) & (np.abs(y - middle[1]) < size / 2)
        depth[inside] = top
    return depth


@contextmanager
def grasp_node(bundle: Path, log: Path, **parameters: object) -> Iterator[subprocess.Popen[bytes]]:
    given = {"bundle": bundle, "camera_pose": CAMERA_POSE, **parameters}
    words = [
        word
        for name, value in given.items()
        for word in ("-p", f"{name}:={json.dumps(value, default=str)}")
    ]
    command = [sys.executable, "-m", "compressed_grasp.grasp_node", "--ros-args", *words]
    with log.open("ab") as stderr:
        process = subprocess.Popen(command, stderr=stderr, env=os.environ)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Client:
    """Shows tables, asks for decisions; `actions` are those that came, oldest first."""

    def __init__(self) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = Node("client", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.actions: list[MultiDOFJointTrajectory] = []
        self._diagnostics: list[DiagnosticArray] = []
        self._second = 0
        qos = QoSProfile(depth=1)
        self.color = self.node.create_publisher(Image, "color", qos)
        self.depth = self.node.create_publisher(Image, "depth", qos)
        self._arm = self.node.create_publisher(PointCloud2, "arm_pose/keypoints", qos)
        self.info = self.node.create_publisher(CameraInfo, "camera_info", qos)
        listen = self.node.create_subscription
        listen(MultiDOFJointTrajectory, "grasp/action", self.actions.append, 10)
        listen(DiagnosticArray, "/diagnostics", self._diagnostics.append, 10)
        self._clients: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def wait_for_node(self) -> None:
        publishers = (self.color, self.depth, self.info)
        self.spin_until(lambda: all(each.get_subscription_count() for each in publishers))
        self.spin_until(lambda: self.node.count_publishers("/grasp/action"))
        self.spin(0.5)

    def watch(self, topic: str, kind: type[Any]) -> list[Any]:
        seen: list[Any] = []
        self.node.create_subscription(kind, topic, seen.append, 1)
        self.spin_until(lambda: self.node.count_publishers(topic))
        self.spin(0.5)
        return seen

    def show(
        self,
        depth: np.ndarray | Image | None,
        *,
        color: bool = True,
        late: int = 0,
        info: bool = True,
    ) -> int:
        """Publish what a camera sees, depth `late` seconds after the colour; return the stamp."""
        self._second += 10
        if info:
            self._publish_info()
        if depth is not None:
            message = depth if isinstance(depth, Image) else image(depth, "32FC1")
            self.depth.publish(self._stamped(message, late))
        if color:
            grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
            self.color.publish(self._stamped(image(grey, "bgr8"), 0))
        self.spin(0.4)
        return self._second

    def show_arm(self, points: np.ndarray, names: str = "xyz") -> None:
        """Publish keypoints, (n, 3) in the camera's frame, as seen in the next image."""
        cloud = PointCloud2(height=1, width=len(points), point_step=12)
        cloud.fields = [
            PointField(name=name, offset=4 * k, datatype=PointField.FLOAT32, count=1)
            for k, name in enumerate(names)
        ]
        cloud.data = array.array("B", points.astype("<f4").tobytes())
        self._arm.publish(self._stamped(cloud, 10))
        self.spin(0.4)

    def call(self, name: str, kind: Any = Trigger, **fields: Any) -> Any:  # noqa: ANN401
        [response] = self.calls(name, 1, kind, **fields)
        return response

    def calls(self, name: str, times: int, kind: Any = Trigger, **fields: Any) -> list[Any]:  # noqa: ANN401
        """Call a service several times at once."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, f"/grasp/{name}")
            self.spin_until(self._clients[name].service_is_ready)
        futures = [self._clients[name].call_async(kind.Request(**fields)) for _ in range(times)]
        self.spin_until(lambda: all(future.done() for future in futures))
        return [future.result() for future in futures]

    def decide(self) -> MultiDOFJointTrajectory:
        """Ask, and return the action that came."""
        self.actions.clear()
        response = self.ask()
        assert response.success, response.message
        self.spin_until(lambda: self.actions)
        return self.actions[0]

    def ask(self) -> Any:  # noqa: ANN401
        """Ask until it is about the newest image, which may still be on its way; how it answers."""
        end = time.monotonic() + PATIENCE_S
        while True:
            response = self.call("decide")
            is_newest = f" {self._second}." in response.message or not response.success
            if is_newest and not any(each in response.message for each in _UNDER_WAY):
                return response
            assert time.monotonic() < end, response.message
            self._publish_info()
            self.spin(0.2)

    def said(self) -> str:
        """Return what the next diagnostics say of the last decision."""
        now = self.node.get_clock().now().nanoseconds

        def is_newer() -> bool:
            stamps = [Time.from_msg(each.header.stamp) for each in self._diagnostics[-1:]]
            return any(stamp.nanoseconds > now for stamp in stamps)

        self.spin_until(is_newer)
        [status] = [s for s in self._diagnostics[-1].status if s.name == "grasp: inference"]
        return str({value.key: value.value for value in status.values}.get("decision", ""))

    def spin_until(self, done: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < end, "waited in vain"
            self._executor.spin_once(timeout_sec=0.05)

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)

    def _publish_info(self) -> None:
        info = CameraInfo(
            height=HEIGHT,
            width=WIDTH,
            distortion_model="plumb_bob",
            d=[0.0] * 5,
            k=MATRIX.ravel(),
        )
        self.info.publish(self._stamped(info, 0))

    def _stamped(self, message: Any, later: int) -> Any:  # noqa: ANN401
        message.header.stamp.sec = self._second + later
        message.header.frame_id = "camera"
        return message


def image(pixels: np.ndarray, encoding: str) -> Image:
    made = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    made.step = pixels.strides[0]
    made.data = array.array("B", pixels.tobytes())
    return made
