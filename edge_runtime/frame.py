"""What a node works on: the images that belong together, decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_runtime.calibration import Calibration, camera_content
from edge_runtime.compressed_images import MAX_PIXELS
from edge_runtime.errors import MessageError
from edge_runtime.images import to_bgr, to_depth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_runtime.interface import Input


@dataclass(frozen=True)
class Arrival:
    """Messages that belong together, as they came.

    `messages` by the topic of an input, `camera_info` by that of the image; `received`:
    `time.perf_counter()` when the first input's message reached the node.
    """

    messages: Mapping[str, Any]
    camera_info: Mapping[str, Any]
    received: float


@dataclass(frozen=True)
class Frame:
    """Decoded images and their calibrations by the image's topic; optional ones may be absent.

    `header` is the first input's, for the outputs. The arrays may share memory with the messages:
    read only. `unusable` says what came and was left out, and why.
    """

    header: Any
    images: Mapping[str, NDArray[Any]]
    calibration: Mapping[str, Calibration]
    unusable: Sequence[MessageError] = ()


class Decoder:
    """Decodes arrivals; a camera info that says what the last one said is not read again.

    `rectified`: the images are, so that their camera is P, not K and D. Compressed images are
    decoded up to `max_pixels`.
    """

    def __init__(
        self,
        images: Sequence[Input],
        *,
        rectified: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self._images = {image.topic: image for image in images}
        self._rectified = rectified
        self._max_pixels = max_pixels
        self._known: dict[str, tuple[Any, Calibration | MessageError | None]] = {}

    def decode(self, arrival: Arrival) -> Frame:
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
            source = self._images[name]
            try:
                image = decode_image(source, message, self._max_pixels)
                _check_registered(source, image, images.get(first, image))
                images[name] = image
            except MessageError as error:
                if name == first or source.required:
                    raise
                unusable.append(MessageError(str(error), f"{name} {error.kind}"))
        for name, info in arrival.camera_info.items():
            if name not in images:
                continue
            found = self._calibration(name, info)
            if isinstance(found, Calibration):
                found = _misfit(name, images[name], found) or found
            if isinstance(found, Calibration):
                calibrations[name] = found
            elif found is not None:
                unusable.append(found)
        return Frame(arrival.messages[first].header, images, calibrations, unusable)

    def _calibration(self, name: str, info: Any) -> Calibration | MessageError | None:  # noqa: ANN401
        content = camera_content(info)
        known = self._known.get(name)
        if known is None or known[0] != content:
            known = self._known[name] = content, self._read(name, info)
        return known[1]

    def _read(self, name: str, info: Any) -> Calibration | MessageError | None:  # noqa: ANN401
        try:
            return Calibration.from_camera_info(info, rectified=self._rectified)
        except MessageError as error:
            return MessageError(f"input {name!r}: {error}", error.kind)


def _check_registered(source: Input, image: NDArray[Any], first: NDArray[Any]) -> None:
    if source.kind == "depth" and image.shape[:2] != first.shape[:2]:
        msg = (
            f"input {source.topic!r}: {image.shape[1]}x{image.shape[0]}, but the image is "
            f"{first.shape[1]}x{first.shape[0]}: publish depth that is registered to the image"
        )
        raise MessageError(msg, "size")


def decode_image(source: Input, message: Any, max_pixels: int) -> NDArray[Any]:  # noqa: ANN401
    """Decode the message of one input; compressed images only up to `max_pixels`.

    Raises:
        MessageError: it cannot be used.

    """
    try:
        read = to_depth if source.kind == "depth" else to_bgr
        return read(message, max_pixels)
    except MessageError as error:
        msg = f"input {source.topic!r}: {error}"
        raise MessageError(msg, error.kind) from error


def _misfit(name: str, image: NDArray[Any], calibration: Calibration) -> MessageError | None:
    if image.shape[:2] == (calibration.height, calibration.width):
        return None
    msg = (
        f"input {name!r}: the camera info is for {calibration.width}x{calibration.height}, but "
        f"the image is {image.shape[1]}x{image.shape[0]}: publish the camera info of this stream"
    )
    return MessageError(msg, "camera info")
