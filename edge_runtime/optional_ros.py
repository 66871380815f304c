"""What not every ROS 2 distribution has, and the only file that knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.duration import Duration
from rclpy.subscription import Subscription
from rclpy.time import Time

try:
    import tf2_ros
except ImportError:  # only with a ROS installation, not among the wheels
    tf2_ros = None
try:
    from rclpy import event_handler as events
except ImportError:  # Humble
    from rclpy import qos_event as events  # type: ignore[no-redef]

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rclpy.node import Node
    from rclpy.qos import QoSProfile


def create_subscription(
    node: Node,
    message_type: type[Any],
    topic: str,
    callback: Callable[[Any, Mapping[str, Any]], None],
    qos: QoSProfile,
    *,
    on_lost: Callable[[int], None],
    on_incompatible: Callable[[], None],
) -> Subscription[Any]:
    """Subscribe; be told of publishers refused for their QoS, and of lost messages if possible.

    `callback` takes the message and rclpy's MessageInfo, which is empty where there is none.
    """

    def without_info(message: Any) -> None:  # noqa: ANN401
        callback(message, {})

    # Older rclpy calls back with the message alone.
    take = callback if hasattr(Subscription, "CallbackType") else without_info

    def subscribe(**more: Any) -> Subscription[Any]:  # noqa: ANN401
        callbacks = events.SubscriptionEventCallbacks(
            incompatible_qos=lambda _: on_incompatible(), **more
        )
        return node.create_subscription(message_type, topic, take, qos, event_callbacks=callbacks)

    try:
        return subscribe(message_lost=lambda event: on_lost(event.total_count_change))
    except events.UnsupportedEventTypeError:  # not every middleware counts them
        return subscribe()


def transform_lookup(node: Node) -> Callable[[str, str, Any, float], Any] | None:
    """Listen to TF; None without tf2_ros.

    Returns:
        A function of target frame, source frame, stamp (all zeros: the newest) and patience [s]
        that returns the geometry_msgs/Transform from source to target, and raises LookupError with
        TF's reason.
    """
    if tf2_ros is None:
        return None
    buffer = tf2_ros.Buffer()
    buffer.listener = tf2_ros.TransformListener(buffer, node)  # which nobody else keeps alive

    def look_up(target: str, source: str, stamp: Any, patience_s: float) -> Any:  # noqa: ANN401
        time = Time.from_msg(stamp)
        try:
            found = buffer.lookup_transform(target, source, time, Duration(seconds=patience_s))
        except tf2_ros.TransformException as error:
            raise LookupError(str(error)) from error
        return found.transform

    return look_up


def transform_broadcaster(node: Node) -> Callable[[Any], None] | None:
    """Return what sends a geometry_msgs/TransformStamped; None without tf2_ros."""
    return None if tf2_ros is None else tf2_ros.TransformBroadcaster(node).sendTransform
