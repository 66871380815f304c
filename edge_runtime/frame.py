"""What a node works on: the images of one moment, from their arrival to the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_runtime.compressed_images import MAX_PIXELS
from edge_runtime.errors import MessageError
from edge_runtime.images import to_bgr, to_depth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edge_runtime.calibration import Calibration
    from edge_runtime.interface import Input


@dataclass
class CameraFrame:
    """Images that belong together. It is made of messages, and `decode` fills in the rest.

    Attributes:
        header: the first input's, for the outputs.
        messages: by the topic of an input, the first input's first.
        received: `time.monotonic()` when the first input's message reached the node.
        camera_info: what was known of the cameras then, by the topic of the image: a calibration,
            why there is none, or None for an uncalibrated camera.
        images: decoded, by topic; optional ones may be absent. They may share memory with the
            messages: read only.
        calibration: of these images, by topic; absent where it is not known or does not fit.
        unusable: what came and was left out, and why.
    """

    header: Any
    messages: dict[str, Any] = field(default_factory=dict)
    received: float = 0.0
    camera_info: Mapping[str, Calibration | MessageError | None] = field(default_factory=dict)
    images: dict[str, NDArray[Any]] = field(default_factory=dict)
    calibration: dict[str, Calibration] = field(default_factory=dict)
    unusable: list[MessageError] = field(default_factory=list)

    def decode(self, inputs: Mapping[str, Input], max_pixels: int = MAX_PIXELS) -> None:
        """Decode all messages and check the images against their cameras.

        An optional image and a camera info that cannot be used are left out.

        Args:
            inputs: by topic, what the messages are of.
            max_pixels: of a compressed image; a larger one is not decoded.

        Raises:
            MessageError: a required image that cannot be used.

        """
        size = None
        for topic, message in self.messages.items():
            is_depth = inputs[topic].kind == "depth"
            try:
                image = (to_depth if is_depth else to_bgr)(message, max_pixels)
                size = size or image.shape[:2]
                if is_depth and image.shape[:2] != size:
                    raise _unregistered(image, size)
            except MessageError as error:
                said = f"input {topic!r}: {error}"
                if inputs[topic].required:
                    raise MessageError(said, error.kind) from error
                self.unusable.append(MessageError(said, f"{topic} {error.kind}"))
            else:
                self.images[topic] = image
        for topic, camera in self.camera_info.items():
            if camera is None or topic not in self.images:
                continue
            if isinstance(camera, MessageError):
                self.unusable.append(camera)
            elif self.images[topic].shape[:2] == (camera.height, camera.width):
                self.calibration[topic] = camera
            else:
                self.unusable.append(_misfit(topic, self.images[topic], camera))


def _unregistered(depth: NDArray[Any], size: tuple[int, ...]) -> MessageError:
    return MessageError(
        f"{depth.shape[1]}x{depth.shape[0]}, but the image is {size[1]}x{size[0]}: publish depth "
        "that is registered to the image",
        "size",
    )


def _misfit(topic: str, image: NDArray[Any], camera: Calibration) -> MessageError:
    return MessageError(
        f"input {topic!r}: the camera info is for {camera.width}x{camera.height}, but the image is "
        f"{image.shape[1]}x{image.shape[0]}: publish the camera info of this stream",
        "camera info",
    )
