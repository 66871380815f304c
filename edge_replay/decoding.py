"""The pixels of a recorded frame, decoded as a node decodes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image

from edge_runtime.images import to_bgr, to_depth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_replay.bags import RecordedFrame, Recording


def decoded(recording: Recording, frame: RecordedFrame, topic: str) -> NDArray[Any] | None:
    """Return an image of the frame by the node's input `topic`; None where it has none.

    Returns:
        (H, W, 3) uint8 BGR, or of a depth topic (H, W) float32 metres, NaN where unseen.

    Raises:
        MessageError: a node could not decode it either.
    """
    data = dict(frame.messages).get(topic)
    if data is None:
        return None
    source = recording.topics[topic]
    message = deserialize_message(data, CompressedImage if source.compressed else Image)
    return to_depth(message) if source.kind == "depth" else to_bgr(message)
