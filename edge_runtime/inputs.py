"""A node's image topics: subscribed, counted, put in order and paired."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from edge_runtime.frame import Arrival, ImageInput
from edge_runtime.optional_ros import create_subscription
from edge_runtime.pairing import Pairing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rclpy.node import Node
    from rclpy.subscription import Subscription
    from rclpy.timer import Timer

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
_CHECK_S = 0.1


class Inputs:
    """Subscriptions that exist from `open` to `close` and hand over arrivals.

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
        self._unpaired = 0
        self._camera_info: dict[str, Any] = {}
        self._last_stamp: int | None = None
        # By input and kind, not by topic: two inputs may be remapped to the same one.
        self._subscriptions: dict[tuple[str, type[Any]], Subscription[Any]] = {}
        self._patience: Timer | None = None

    def open(
        self,
        transports: Mapping[str, str],
        slop_s: float,
        deliver: Callable[[Sequence[Arrival]], None],
    ) -> None:
        """Subscribe; `deliver` is called in the executor's thread, oldest arrival first.

        `transports`: by kind of input, as image_transport names them.
        """
        self._pairing.slop_ns = round(slop_s * _SECOND)
        self._deliver = deliver
        for image in self.by_name.values():
            topic, kind = self._node.resolve_topic_name(image.name), Image
            if transports[image.kind] != "raw":
                topic, kind = f"{topic}/{transports[image.kind]}", CompressedImage
            callback = partial(self._on_image, image.name)
            self._subscribe((image.name, kind), topic, callback, RELIABLE)
            if image.camera_info is not None:
                topic = self._node.resolve_topic_name(image.camera_info)
                keep = partial(self._camera_info.__setitem__, image.name)
                self._subscribe((image.name, CameraInfo), topic, keep, BEST_EFFORT)
        # A frame that waits for an optional partner must not wait for the next message, which may
        # never come. The timer runs only while something waits.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._patience = self._node.create_timer(_CHECK_S, self._give_up_waiting, clock=steady)
        self._patience.cancel()

    def close(self) -> None:
        """Unsubscribe and forget everything that came."""
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        if self._patience is not None:
            self._node.destroy_timer(self._patience)
            self._patience = None
        self._pairing.clear()
        self._camera_info.clear()
        self._last_stamp = self.last_received = self.age_s = None

    def _subscribe(
        self,
        key: tuple[str, type[Any]],
        topic: str,
        callback: Callable[[Any], None],
        qos: QoSProfile,
    ) -> None:
        """Subscribe as reliable as every publisher allows.

        A best-effort subscription would receive from all of them, but loses nearly every image
        that is larger than the middleware's buffer (Fast DDS: 512 KiB, less than 640x480 bgr8)
        when the processor is busy. So it is taken only when a best-effort publisher appears.
        """

        def resubscribe() -> None:
            # The event may come when the inputs were closed meanwhile.
            if self._subscriptions.get(key) is subscription:
                self._node.destroy_subscription(subscription)
                self._subscribe(key, topic, callback, BEST_EFFORT)

        subscription = create_subscription(
            self._node,
            key[1],
            topic,
            callback,
            qos,
            on_lost=partial(self._reporter.tally.add, "lost"),
            on_incompatible=resubscribe,
        )
        self._subscriptions[key] = subscription

    def _on_image(self, name: str, message: Any) -> None:  # noqa: ANN401
        received = time.perf_counter()
        stamp = message.header.stamp.sec * _SECOND + message.header.stamp.nanosec
        if name == self._first:
            self.last_received = time.monotonic()
            self._reporter.tally.add("received")
            self.age_s = (self._node.get_clock().now().nanoseconds - stamp) / _SECOND
            if self._jumped_back(stamp):
                return
        now = time.monotonic()
        self._hand_over(self._pairing.add(name, stamp, (message, received), now))
        if self._pairing.is_waiting and self._patience and self._patience.is_canceled():
            self._patience.reset()

    def _give_up_waiting(self) -> None:
        self._hand_over(self._pairing.take(time.monotonic()))
        if self._patience and not self._pairing.is_waiting:
            self._patience.cancel()

    def _hand_over(self, sets: Sequence[dict[str, Any]]) -> None:
        if self._pairing.unpaired > self._unpaired:
            self._unpaired = self._pairing.unpaired
            others = ", ".join(other for other in self.by_name if other != self._first)
            slop_ms = self._pairing.slop_ns / 1e6
            self._reporter.reject(
                "unpaired",
                f"input {self._first!r}: no image with a stamp within {slop_ms:g} ms came from "
                f"{others}: synchronise the cameras or raise the parameter 'slop'",
            )
        infos = dict(self._camera_info)
        if sets:
            self._deliver(
                [
                    Arrival({n: m for n, (m, _) in found.items()}, infos, found[self._first][1])
                    for found in sets
                ]
            )

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
