"""What a node works on: the images that belong together, decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edge_runtime.calibration import Calibration
from edge_runtime.compressed_images import MAX_PIXELS
from edge_runtime.errors import MessageError
from edge_runtime.images import to_bgr, to_depth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class ImageInput:
    """A topic with images.

    `name` is the topic. Colour comes as (H, W, 3) uint8 BGR, depth as (H, W) float32 metres with
    NaN where nothing was seen, registered to the first input's image. `camera_info` is the topic of
    the image's camera info, if the node wants it. Of a node's inputs the first is required; the
    others are paired with it by stamp.
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
    """Decoded images and their calibrations by input name; optional ones may be absent.

    `header` is the first input's, for the outputs. The arrays may share memory with the messages:
    read only. `unusable` says what came and was left out, and why.
    """

    header: Any
    images: Mapping[str, NDArray[Any]]
    calibration: Mapping[str, Calibration]
    unusable: Sequence[MessageError] = ()


def decode(
    arrival: Arrival,
    inputs: Mapping[str, ImageInput],
    *,
    rectified: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Frame:
    """Decode all images of an arrival and check them against their camera infos.

    An optional image and a camera info that cannot be used are left out.

    Raises:
        MessageError: a required image that cannot be used.

    """
    first = next(iter(arrival.messages))
    images: dict[str, NDArray[Any]] = {}
    calibrations: dict[str, Calibration] = {}
    unusable: list[MessageError] = []
    for name, message in arrival.messages.items():
        try:
            image = decode_image(inputs[name], message, max_pixels)
            _check_registered(inputs[name], image, images.get(first, image))
            images[name] = image
        except MessageError as error:  # noqa: PERF203
            if name == first or inputs[name].required:
                raise
            unusable.append(MessageError(str(error), f"{name} {error.kind}"))
    for name, info in arrival.camera_info.items():
        try:
            if name in images and (
                found := read_calibration(name, images[name], info, rectified=rectified)
            ):
                calibrations[name] = found
        except MessageError as error:  # noqa: PERF203
            unusable.append(error)
    return Frame(arrival.messages[first].header, images, calibrations, unusable)


def _check_registered(source: ImageInput, image: NDArray[Any], first: NDArray[Any]) -> None:
    if source.kind == "depth" and image.shape[:2] != first.shape[:2]:
        msg = (
            f"input {source.name!r}: {image.shape[1]}x{image.shape[0]}, but the image is "
            f"{first.shape[1]}x{first.shape[0]}: publish depth that is registered to the image"
        )
        raise MessageError(msg, "size")


def decode_image(source: ImageInput, message: Any, max_pixels: int) -> NDArray[Any]:  # noqa: ANN401
    """Decode the message of one input; compressed images only up to `max_pixels`.

    Raises:
        MessageError: it cannot be used.

    """
    try:
        read = to_depth if source.kind == "depth" else to_bgr
        return read(message, max_pixels)
    except MessageError as error:
        msg = f"input {source.name!r}: {error}"
        raise MessageError(msg, error.kind) from error


def read_calibration(
    name: str,
    image: NDArray[Any],
    info: Any,  # noqa: ANN401
    *,
    rectified: bool,
) -> Calibration | None:
    """Read the camera info of an image; None for an uncalibrated camera.

    `rectified`: the image is, so that its camera is P, not K and D.

    Raises:
        MessageError: it is wrong, or of another size than the image.

    """
    try:
        calibration = Calibration.from_camera_info(info, rectified=rectified)
    except MessageError as error:
        msg = f"input {name!r}: {error}"
        raise MessageError(msg, error.kind) from error
    if calibration and image.shape[:2] != (calibration.height, calibration.width):
        msg = (
            f"input {name!r}: the camera info is for {calibration.width}x{calibration.height}, but "
            f"the image is {image.shape[1]}x{image.shape[0]}: publish the camera info of this "
            "stream"
        )
        raise MessageError(msg, "camera info")
    return calibration
