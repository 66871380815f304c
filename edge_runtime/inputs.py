"""A node's image topics: subscribed, counted, put in order and paired."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from edge_runtime.frame import CameraFrame
from edge_runtime.losses import Losses
from edge_runtime.optional_ros import create_subscription
from edge_runtime.pairing import Pairing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from rclpy.node import Node
    from rclpy.subscription import Subscription
    from rclpy.timer import Timer

    from edge_runtime.calibration import Calibration, CameraInfoReader
    from edge_runtime.errors import MessageError
    from edge_runtime.frame_loop import FrameLoop
    from edge_runtime.interface import Input, NodeInterface
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
# What a publisher latched before the node started comes only to such a subscription; one that did
# not latch it is not heard by it.
LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
_SECOND = 1_000_000_000
_CHECK_S = 0.1
_LATCHED_CHECK_S = 0.2


class Inputs:
    """Subscriptions that exist from `open` to `close` and hand over frames.

    `last_received` (`time.monotonic()`) and `age_s` (by its stamp, None without one) tell of the
    first input's last message, `topic` is its name after remapping.
    """

    def __init__(self, node: Node, interface: NodeInterface, reporter: Reporter) -> None:
        first = interface.images[0]
        self.last_received: float | None = None
        self.age_s: float | None = None
        self.topic = node.resolve_topic_name(first.topic)
        self._interface = interface
        self._images: tuple[Input, ...] = ()
        self._info_topics: dict[str, str] = {}
        self._node = node
        self._first = first.topic
        self._reporter = reporter
        self._pairing = Pairing(self._first, [], [])
        self._unpaired = 0
        self._camera_info: dict[str, Calibration | MessageError | None] = {}
        self._newest: CameraFrame | None = None
        self._last_stamp: int | None = None
        # By input, kind and QoS, not by topic: two inputs may be remapped to the same one.
        self._subscriptions: dict[tuple[str, ...], Subscription[Any]] = {}
        self._timers: list[Timer] = []

    def open(
        self,
        topics: Collection[str],
        transports: Mapping[str, str],
        slop_s: float,
        cameras: CameraInfoReader,
        loop: FrameLoop[Any],
    ) -> None:
        """Subscribe, and deliver the frames to `loop`, which begins anew where the stamps do.

        Args:
            topics: of the interface's images, those that are wanted, the first one among them;
                their camera infos come with them.
            transports: by kind of input, as image_transport names them.
            slop_s: seconds by which the stamps of images that belong together may differ.
            cameras: reads the camera infos.
            loop: answers the frames.
        """
        self._images = tuple(each for each in self._interface.images if each.topic in topics)
        self._info_topics = {
            image: info for image, info in self._interface.camera_infos.items() if image in topics
        }
        others = self._images[1:]
        self._pairing = Pairing(
            self._first,
            [image.topic for image in others if image.required],
            [image.topic for image in others if not image.required],
        )
        self._unpaired = 0
        self._pairing.slop_ns = round(slop_s * _SECOND)
        self._cameras = cameras
        self._loop = loop
        for image in self._images:
            topic, kind = self._node.resolve_topic_name(image.topic), Image
            if transports[image.kind] != "raw":
                topic, kind = f"{topic}/{transports[image.kind]}", CompressedImage
            self._subscribe_image(image.topic, kind, topic, RELIABLE)
        for name, topic in self._info_topics.items():
            self._subscribe_camera_info(name, topic, BEST_EFFORT)
        # A frame that waits for an optional partner must not wait for the next message, which may
        # never come. The timer runs only while something waits.
        self._patience = self._every(_CHECK_S, self._give_up_waiting)
        self._patience.cancel()
        self._latched = self._every(_LATCHED_CHECK_S, self._find_latched)

    def close(self) -> None:
        """Unsubscribe and forget everything that came."""
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        for timer in self._timers:
            self._node.destroy_timer(timer)
        self._timers.clear()
        self.forget()
        self._camera_info.clear()
        self._newest = None
        self.last_received = self.age_s = None

    def forget(self) -> None:
        """Forget the images that wait and the last stamp: the next image may have any."""
        self._pairing.clear()
        self._last_stamp = None

    def _every(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = self._node.create_timer(
            seconds, call, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._timers.append(timer)
        return timer

    def _subscribe_image(self, name: str, kind: type[Any], topic: str, qos: QoSProfile) -> None:
        """Subscribe as reliable as every publisher allows.

        A best-effort subscription would receive from all of them, but loses nearly every image
        that is larger than the middleware's buffer (Fast DDS: 512 KiB, less than 640x480 bgr8)
        when the processor is busy. So it is taken only when a best-effort publisher appears.
        """
        key = (name, "image")
        losses = Losses(
            partial(self._reporter.lost, "lost" if name == self._first else f"lost: {name}", topic),
            lambda: self._node.count_publishers(topic) == 1,
        )

        def resubscribe() -> None:
            # The event may come when the inputs were closed meanwhile.
            if self._subscriptions.get(key) is subscription:
                self._node.destroy_subscription(subscription)
                self._subscribe_image(name, kind, topic, BEST_EFFORT)

        subscription = create_subscription(
            self._node,
            kind,
            topic,
            partial(self._on_image, name, losses),
            qos,
            on_lost=losses.reported,
            on_incompatible=resubscribe,
        )
        self._subscriptions[key] = subscription

    def _subscribe_camera_info(self, name: str, topic: str, qos: QoSProfile) -> None:
        def keep(message: Any, _: object) -> None:  # noqa: ANN401
            self._camera_info[name] = read = self._cameras.read(name, message)
            # The newest frame may be asked about later: it gets what it came before.
            if self._newest is not None and name not in self._newest.camera_info:
                self._newest.camera_info = {**self._newest.camera_info, name: read}

        # Only the newest camera info counts: of those between nothing is lost.
        self._subscriptions[name, topic, qos.durability.name] = create_subscription(
            self._node,
            CameraInfo,
            self._node.resolve_topic_name(topic),
            keep,
            qos,
            on_lost=lambda _: None,
            on_incompatible=lambda: None,
        )

    def _find_latched(self) -> None:
        """Subscribe to camera infos that are latched, until every input has one.

        Only where a publisher latches: any other one would warn that it is not compatible.
        """
        missing = [name for name in self._info_topics if name not in self._camera_info]
        for name in missing:
            topic = self._info_topics[name]
            if (name, topic, LATCHED.durability.name) in self._subscriptions:
                continue
            publishers = self._node.get_publishers_info_by_topic(
                self._node.resolve_topic_name(topic)
            )
            if any(end.qos_profile.durability == LATCHED.durability for end in publishers):
                self._subscribe_camera_info(name, topic, LATCHED)
        if not missing:
            self._latched.cancel()

    def _on_image(self, name: str, losses: Losses, message: Any, info: Mapping[str, Any]) -> None:  # noqa: ANN401
        now = time.monotonic()
        losses.received(info)
        stamp = message.header.stamp.sec * _SECOND + message.header.stamp.nanosec
        if name == self._first:
            self.last_received = now
            self._reporter.counters.add("received")
            now_ns = self._node.get_clock().now().nanoseconds
            self.age_s = (now_ns - stamp) / _SECOND if stamp else None
            if stamp:
                last, self._last_stamp = self._last_stamp, stamp
                if last is not None and stamp < last:
                    self._begin_anew(last - stamp)
                    return
            message = CameraFrame(message.header, {name: message}, now)
        self._hand_over(self._pairing.add(name, stamp, message, now))
        if self._pairing.is_waiting and self._patience.is_canceled():
            self._patience.reset()

    def _give_up_waiting(self) -> None:
        self._hand_over(self._pairing.take(time.monotonic()))
        if not self._pairing.is_waiting:
            self._patience.cancel()

    def _hand_over(self, sets: Sequence[dict[str, Any]]) -> None:
        slop_ms = self._pairing.slop_ns / 1e6
        if self._pairing.unpaired > self._unpaired:
            self._unpaired = self._pairing.unpaired
            others = ", ".join(other.topic for other in self._images[1:])
            self._reporter.reject(
                "unpaired",
                f"input {self._first!r}: no image with a stamp within {slop_ms:g} ms came from "
                f"{others}: synchronise the cameras or raise the parameter 'slop'",
            )
        if not sets:
            return
        for name, later_s in self._pairing.unmatched(time.monotonic()).items():
            side = "ahead" if later_s > 0 else "behind"
            self._reporter.incomplete(
                f"{name} unmatched",
                f"input {name!r}: none came in time within {slop_ms:g} ms of {self._first!r}, the "
                f"newest is {abs(later_s):.3f} s {side}: synchronise the clocks or raise the "
                "parameter 'slop'; it is not waited for until one matches",
                len(sets),
            )
        self._loop.deliver([self._complete(found) for found in sets])

    def _complete(self, found: dict[str, Any]) -> CameraFrame:
        """Give the first image's frame what belongs to it."""
        frame: CameraFrame = found.pop(self._first)
        frame.messages |= found
        frame.camera_info = dict(self._camera_info)
        self._newest = frame
        return frame

    def _begin_anew(self, back_ns: int) -> None:
        # Going on from the new stamp lets a bag that plays in a loop continue.
        self._pairing.clear()
        self._loop.begin_anew()
        self._reporter.reject(
            "stamp",
            f"input {self._first!r}: the stamp went back by {back_ns / _SECOND:.3f} s: this image "
            "is dropped, stamps must not decrease",
        )
