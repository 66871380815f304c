"""A node's image topics: subscribed, counted, put in order and paired."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from edge_runtime.frame import Arrival, ImageInput
from edge_runtime.optional_ros import create_subscription
from edge_runtime.pairing import Pairing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.node import Node
    from rclpy.subscription import Subscription

    from edge_runtime.reporter import Reporter

# Depth 1, because only the newest counts.
RELIABLE = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)
BEST_EFFORT = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
_SECOND = 1_000_000_000


class Inputs:
    """Subscriptions that exist from `open` to `close` and hand over complete arrivals.

    `last_received` (`time.monotonic()`) and `age_s` (by its stamp) tell of the first input's last
    message, `topic` is its name after remapping.
    """

    def __init__(self, node: Node, inputs: Sequence[ImageInput], reporter: Reporter) -> None:
        self.by_name = {image.name: image for image in inputs}
        self.last_received: float | None = None
        self.age_s: float | None = None
        self.topic = node.resolve_topic_name(inputs[0].name)
        self._node = node
        self._first = inputs[0].name
        self._reporter = reporter
        self._pairing = Pairing(
            self._first,
            [image.name for image in inputs[1:] if image.required],
            [image.name for image in inputs[1:] if not image.required],
        )
        self._camera_info: dict[str, Any] = {}
        self._last_stamp: int | None = None
        self._subscriptions: dict[str, Subscription[Any]] = {}

    def open(self, transport: str, slop_s: float, deliver: Callable[[Arrival], None]) -> None:
        """Subscribe; `deliver` is called in the executor's thread."""
        self._pairing.slop_ns = round(slop_s * _SECOND)
        self._deliver = deliver
        for image in self.by_name.values():
            topic, kind = self._node.resolve_topic_name(image.name), Image
            # Depth does not survive JPEG: it stays raw beside a compressed colour image.
            if transport == "compressed" and image.kind == "colour":
                topic, kind = f"{topic}/compressed", CompressedImage
            self._subscribe(kind, topic, partial(self._on_image, image.name), RELIABLE)
            if image.camera_info is not None:
                topic = self._node.resolve_topic_name(image.camera_info)
                keep = partial(self._camera_info.__setitem__, image.name)
                self._subscribe(CameraInfo, topic, keep, BEST_EFFORT)

    def close(self) -> None:
        """Unsubscribe and forget everything that came."""
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._pairing.clear()
        self._camera_info.clear()
        self._last_stamp = self.last_received = self.age_s = None

    def _subscribe(
        self, kind: type[Any], topic: str, callback: Callable[[Any], None], qos: QoSProfile
    ) -> None:
        """Subscribe as reliable as every publisher allows.

        A best-effort subscription would receive from all of them, but loses nearly every image
        that is larger than the middleware's buffer (Fast DDS: 512 KiB, less than 640x480 bgr8)
        when the processor is busy. So it is taken only when a best-effort publisher appears.
        """

        def resubscribe() -> None:
            self._node.destroy_subscription(self._subscriptions[topic])
            self._subscribe(kind, topic, callback, BEST_EFFORT)

        self._subscriptions[topic] = create_subscription(
            self._node,
            kind,
            topic,
            callback,
            qos,
            on_lost=partial(self._reporter.tally.add, "lost"),
            on_incompatible=resubscribe,
        )

    def _on_image(self, name: str, message: Any) -> None:  # noqa: ANN401
        received = time.perf_counter()
        stamp = message.header.stamp.sec * _SECOND + message.header.stamp.nanosec
        if name == self._first:
            self.last_received = time.monotonic()
            self._reporter.tally.add("received")
            self.age_s = (self._node.get_clock().now().nanoseconds - stamp) / _SECOND
            if self._jumped_back(stamp):
                return
        unpaired = self._pairing.unpaired
        sets = self._pairing.add(name, stamp, (message, received), time.monotonic())
        if self._pairing.unpaired > unpaired:
            others = ", ".join(other for other in self.by_name if other != self._first)
            slop_ms = self._pairing.slop_ns / 1e6
            self._reporter.reject(
                "unpaired",
                f"input {self._first!r}: no image with a stamp within {slop_ms:g} ms came from "
                f"{others}: synchronise the cameras or raise the parameter 'slop'",
            )
        for complete in sets:
            messages = {other: message for other, (message, _) in complete.items()}
            self._deliver(Arrival(messages, dict(self._camera_info), complete[self._first][1]))

    def _jumped_back(self, stamp: int) -> bool:
        last, self._last_stamp = self._last_stamp, stamp
        if last is None or stamp >= last:
            return False
        # Going on from the new stamp lets a bag that plays in a loop continue.
        self._pairing.clear()
        self._reporter.reject(
            "stamp",
            f"input {self._first!r}: the stamp went back by {(last - stamp) / _SECOND:.3f} s: this "
            "image is dropped, stamps must not decrease",
        )
        return True
