"""Pictures of what a node found, for people: drawn and sent beside the answers, never before."""

from __future__ import annotations

import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import cv2
from sensor_msgs.msg import CompressedImage

from edge_runtime.images import to_image_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from rclpy.lifecycle import LifecyclePublisher

    from edge_runtime.frame import CameraFrame

Result = TypeVar("Result")

_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 80)


@dataclass(frozen=True)
class Picture(Generic[Result]):
    """A picture that is published raw and as JPEG, each while somebody subscribes to it.

    `draw` makes it, (H, W, 3) uint8 BGR, without writing to the frame's images.
    """

    draw: Callable[[CameraFrame, Result], NDArray[Any]]
    raw: LifecyclePublisher[Any]
    compressed: LifecyclePublisher[Any]

    @property
    def is_watched(self) -> bool:
        """Whether anybody would see it."""
        return bool(self.raw.get_subscription_count() or self.compressed.get_subscription_count())

    def publish(self, frame: CameraFrame, result: Result) -> None:
        """Draw it, and publish it under the frame's header to those who watch."""
        if not self.is_watched:
            return
        bgr = self.draw(frame, result)
        if self.compressed.get_subscription_count():
            self.compressed.publish(_jpeg(bgr, frame.header))
        if self.raw.get_subscription_count():
            self.raw.publish(to_image_message(bgr, frame.header))


def _jpeg(bgr: NDArray[Any], header: Any) -> CompressedImage:  # noqa: ANN401
    data = cv2.imencode(".jpg", bgr, _JPEG)[1]
    # The format as image_transport's own plugin writes it.
    return CompressedImage(
        header=header, format="bgr8; jpeg compressed bgr8", data=array.array("B", data.tobytes())
    )
