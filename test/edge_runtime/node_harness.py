"""A node as its own process, and a client that talks to it over DDS."""

from __future__ import annotations

import array
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PointStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

PATIENCE_S = 20
PROGRAM = Path(__file__).with_name("brightness.py")


def wait_until(true: Callable[[], object], what: str, instead: object = None) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, f"waited in vain for {what}: {instead}"
        time.sleep(0.02)


class NodeProcess:
    """A node; `lines` is what it has written so far."""

    def __init__(
        self,
        *arguments: str,
        environment: dict[str, str] | None = None,
        program: Path = PROGRAM,
    ) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, program, *arguments],
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()

    def matching(self, *words: str) -> list[str]:
        return [line for line in self.lines if all(word in line for word in words)]

    def wait_for(self, *words: str) -> str:
        wait_until(lambda: self.matching(*words), f"a line with {words}", self.lines)
        return self.matching(*words)[0]

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, number: signal.Signals) -> int:
        self.signal(number)
        return self._process.wait(PATIENCE_S)

    def wait(self) -> int:
        return self._process.wait(PATIENCE_S)

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self.lines.append(line.rstrip())


class Client:
    """Publishes images, receives results, and drives the node's life."""

    def __init__(
        self,
        *,
        reliable: bool = True,
        compressed: bool = False,
        namespace: str = "",
        name: str = "brightness",
    ) -> None:
        self._name = name
        self._namespace = namespace
        self.results: queue.Queue[PointStamped] = queue.Queue()
        self.latency: list[DiagnosticArray] = []
        self.diagnostics: list[DiagnosticArray] = []
        self._clients: dict[Any, Any] = {}
        self._compressed = compressed
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = Node("client", context=self._context)
        self._reliable = reliable
        policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        qos = QoSProfile(depth=10, reliability=policy)
        topic, kind = ("image/compressed", CompressedImage) if compressed else ("image", Image)
        self.image = self._node.create_publisher(kind, topic, qos)
        self.depth = self._node.create_publisher(Image, "depth", qos)
        self.info = self._node.create_publisher(CameraInfo, "camera_info", qos)
        listen = self._node.create_subscription
        listen(PointStamped, f"/{name}/mean", self.results.put, 100)
        listen(DiagnosticArray, f"/{name}/latency", self.latency.append, 100)
        listen(DiagnosticArray, "/diagnostics", self.diagnostics.append, 100)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def wait_for_node(self) -> None:
        publishers = (self.image, self.depth, self.info)
        wait_until(lambda: all(p.get_subscription_count() for p in publishers), "subscriptions")
        count = self._node.count_publishers
        wait_until(lambda: count(f"/{self._name}/mean"), "the result's publisher")
        # Matched here is not yet matched there: send probes until one is answered.
        if self._reliable and not self._compressed:
            wait_until(self._answers_probe, "the first answer")
            while not self.results.empty():
                self.results.get()
            self.latency.clear()

    def is_there(self, topic: str) -> bool:
        """Return whether somebody publishes on the topic."""
        return bool(self._node.count_publishers(topic))

    def watch(self, topic: str, kind: type[Any]) -> list[Any]:
        """Subscribe as a viewer does, and return the list that what comes is put into."""
        seen: list[Any] = []
        self._node.create_subscription(kind, topic, seen.append, 1)
        wait_until(lambda: self.is_there(topic), f"a publisher of {topic}")
        return seen

    def send(self, message: Any, stamp: float) -> None:  # noqa: ANN401
        stamp_message(message, stamp)
        self.image.publish(message)

    def result(self) -> PointStamped:
        return self.results.get(timeout=PATIENCE_S)

    def ask(self, message: Any, stamp: float) -> PointStamped:  # noqa: ANN401
        """Send an image and return its answer."""
        self.send(message, stamp)
        while (answer := self.result()).header.stamp != message.header.stamp:
            pass
        return answer

    def publisher(self, kind: type[Any], topic: str, qos: QoSProfile) -> Any:  # noqa: ANN401
        return self._node.create_publisher(kind, topic, qos)

    def counts(self, part: str) -> dict[str, str]:
        return {value.key: value.value for value in self.status(part).values}

    def change(self, name: str) -> bool:
        number = getattr(Transition, f"TRANSITION_{name.upper()}")
        request = ChangeState.Request(transition=Transition(id=number))
        return bool(self._call(ChangeState, "change_state", request).success)

    def begin(self, kind: Any, name: str, **fields: Any) -> Any:  # noqa: ANN401
        """Call a service; return the future of its response."""
        return self._client(kind, name).call_async(kind.Request(**fields))

    def call(self, kind: Any, name: str, **fields: Any) -> Any:  # noqa: ANN401
        """Call a service and return its response."""
        future = self.begin(kind, name, **fields)
        wait_until(future.done, f"an answer of {name}")
        return future.result()

    def state(self) -> str:
        return str(self._call(GetState, "get_state", GetState.Request()).current_state.label)

    def set(self, name: str, value: object) -> str:
        """Set a parameter; return why it was refused, "" if it was not."""
        parameter = Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[parameter])
        result = self._call(SetParameters, "set_parameters", request).results[0]
        return "" if result.successful else str(result.reason)

    def status(self, part: str) -> Any:  # noqa: ANN401
        """Return the newest diagnostic status of a part, waiting for the first one."""
        name = f"{self._name}: {part}"
        wait_until(lambda: self.diagnostics, "diagnostics")
        return next(status for status in self.diagnostics[-1].status if status.name == name)

    def _answers_probe(self) -> bool:
        self.send(image(2, 2), 0)
        try:
            self.results.get(timeout=0.2)
        except queue.Empty:
            return False
        return True

    def request(self, kind: Any, name: str, request: Any) -> None:  # noqa: ANN401
        """Call a service of the node's without waiting for an answer."""
        self._client(kind, name).call_async(request)

    def _client(self, kind: Any, name: str) -> Any:  # noqa: ANN401
        if name not in self._clients:
            path = f"{self._namespace}/{self._name}/{name}"
            self._clients[name] = self._node.create_client(kind, path)
            assert self._clients[name].wait_for_service(PATIENCE_S)
        return self._clients[name]

    def _call(self, kind: Any, name: str, request: Any) -> Any:  # noqa: ANN401
        client = self._node.create_client(kind, f"{self._namespace}/{self._name}/{name}")
        assert client.wait_for_service(PATIENCE_S)
        future = client.call_async(request)
        wait_until(future.done, f"an answer of {name}")
        self._node.destroy_client(client)
        return future.result()

    def _spin(self) -> None:
        while not self._stop.is_set():
            self._executor.spin_once(timeout_sec=0.1)


def stamp_message(message: Any, stamp: float) -> None:  # noqa: ANN401
    seconds = int(stamp)
    message.header.stamp.sec = seconds
    message.header.stamp.nanosec = round((stamp - seconds) * 1e9)
    message.header.frame_id = "camera_optical"


def image(width: int, height: int, encoding: str = "mono8", **changes: Any) -> Image:  # noqa: ANN401
    """Return a picture whose bytes are all 100."""
    size = {"mono8": 1, "bgr8": 3, "16UC1": 2}.get(encoding, 1)
    step = changes.pop("step", width * size)
    data = changes.pop("data", bytes([100]) * (width * size * height))
    return Image(
        width=width,
        height=height,
        encoding=encoding,
        step=step,
        data=array.array("B", data),
        **changes,
    )
