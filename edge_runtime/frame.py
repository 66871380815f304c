"""What a node works on: the images that belong together, decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edge_runtime.errors import MessageError
from edge_runtime.images import to_bgr, to_depth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class ImageInput:
    """A topic with images.

    `name` is the topic. Colour comes as (H, W, 3) uint8 BGR, depth as (H, W) float32 metres with
    NaN where nothing was seen. `camera_info` is the topic of the image's camera info, if the node
    wants it. Of a node's inputs the first is required; the others are paired with it by stamp.
    """

    name: str
    kind: Literal["colour", "depth"]
    required: bool = True
    camera_info: str | None = None


@dataclass(frozen=True)
class Arrival:
    """Messages that belong together, as they came.

    `messages` and `camera_info` by input name; `received`: `time.perf_counter()` when the first
    input's message reached the node.
    """

    messages: Mapping[str, Any]
    camera_info: Mapping[str, Any]
    received: float


@dataclass(frozen=True)
class Frame:
    """Decoded images and their camera infos by input name; optional ones may be absent.

    `header` is the first input's, for the outputs. The arrays may share memory with the messages:
    read only.
    """

    header: Any
    images: Mapping[str, NDArray[Any]]
    camera_info: Mapping[str, Any]


def decode(arrival: Arrival, inputs: Mapping[str, ImageInput]) -> Frame:
    """Decode all images of an arrival and check them against their camera infos.

    Raises:
        MessageError: an image that cannot be used, or a camera info of another size.

    """
    images = {name: _image(inputs[name], message) for name, message in arrival.messages.items()}
    infos = {
        name: info
        for name, info in arrival.camera_info.items()
        # An uncalibrated camera says so by a matrix of zeros: as good as no camera info.
        if name in images and info.k[0] != 0
    }
    for name, info in infos.items():
        _check_size(name, images[name], info)
    return Frame(next(iter(arrival.messages.values())).header, images, infos)


def _image(source: ImageInput, message: Any) -> NDArray[Any]:  # noqa: ANN401
    try:
        return to_depth(message) if source.kind == "depth" else to_bgr(message)
    except MessageError as error:
        msg = f"input {source.name!r}: {error}"
        raise MessageError(msg, error.kind) from error


def _check_size(name: str, image: NDArray[Any], info: Any) -> None:  # noqa: ANN401
    # CameraInfo's size is the sensor's; the image is a window of it, binned.
    width = (info.roi.width or info.width) // max(info.binning_x, 1)
    height = (info.roi.height or info.height) // max(info.binning_y, 1)
    if image.shape[:2] != (height, width):
        msg = (
            f"input {name!r}: the camera info is for {width}x{height}, but the image is "
            f"{image.shape[1]}x{image.shape[0]}: publish the camera info of this stream"
        )
        raise MessageError(msg, "camera info")
