"""Image messages to arrays and back.

Works on any object with the fields of `sensor_msgs/msg/Image` or `CompressedImage`, whether rclpy
or a bag reader made it. OpenCV does the conversions: `rosbags-image` ignores `step`.
"""

from __future__ import annotations

import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from edge_runtime.compressed_images import MAX_PIXELS, compressed_kinds, decompress
from edge_runtime.errors import MessageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import TypeIs

    from edge_runtime.compressed_images import CompressedImageMessage, Kind

    class ImageMessage(Protocol):
        """The fields of `sensor_msgs/msg/Image`; `data` is any buffer of bytes."""

        height: int
        width: int
        encoding: str
        is_bigendian: int
        step: int
        data: Any


@dataclass(frozen=True)
class _Layout:
    """How a pixel lies in memory, and OpenCV's code that makes it BGR (None: it is BGR)."""

    dtype: str
    channels: int
    to_bgr: int | None = None


_COLOUR = {
    "bgr8": _Layout("u1", 3),
    "rgb8": _Layout("u1", 3, cv2.COLOR_RGB2BGR),
    "bgra8": _Layout("u1", 4, cv2.COLOR_BGRA2BGR),
    "rgba8": _Layout("u1", 4, cv2.COLOR_RGBA2BGR),
    "mono8": _Layout("u1", 1, cv2.COLOR_GRAY2BGR),
    "8UC1": _Layout("u1", 1, cv2.COLOR_GRAY2BGR),
    "8UC3": _Layout("u1", 3),
    "8UC4": _Layout("u1", 4, cv2.COLOR_BGRA2BGR),
    "bgr16": _Layout("u2", 3),
    "rgb16": _Layout("u2", 3, cv2.COLOR_RGB2BGR),
    "bgra16": _Layout("u2", 4, cv2.COLOR_BGRA2BGR),
    "rgba16": _Layout("u2", 4, cv2.COLOR_RGBA2BGR),
    "mono16": _Layout("u2", 1, cv2.COLOR_GRAY2BGR),
    "uyvy": _Layout("u1", 2, cv2.COLOR_YUV2BGR_UYVY),
    "yuv422": _Layout("u1", 2, cv2.COLOR_YUV2BGR_UYVY),
    "yuyv": _Layout("u1", 2, cv2.COLOR_YUV2BGR_YUYV),
    "yuv422_yuy2": _Layout("u1", 2, cv2.COLOR_YUV2BGR_YUYV),
    "bayer_rggb8": _Layout("u1", 1, cv2.COLOR_BayerRGGB2BGR),
    "bayer_bggr8": _Layout("u1", 1, cv2.COLOR_BayerBGGR2BGR),
    "bayer_gbrg8": _Layout("u1", 1, cv2.COLOR_BayerGBRG2BGR),
    "bayer_grbg8": _Layout("u1", 1, cv2.COLOR_BayerGRBG2BGR),
    "bayer_rggb16": _Layout("u2", 1, cv2.COLOR_BayerRGGB2BGR),
    "bayer_bggr16": _Layout("u2", 1, cv2.COLOR_BayerBGGR2BGR),
    "bayer_gbrg16": _Layout("u2", 1, cv2.COLOR_BayerGBRG2BGR),
    "bayer_grbg16": _Layout("u2", 1, cv2.COLOR_BayerGRBG2BGR),
}
_DEPTH = {"16UC1": _Layout("u2", 1), "32FC1": _Layout("f4", 1)}
# As depth_image_proc reads it: some drivers call their millimetres grey.
_READ_AS_DEPTH = _DEPTH | {"mono16": _Layout("u2", 1)}
_MILLIMETRE = np.float32(0.001)
_SENSOR_BITS = (8, 10, 12, 14, 16)


def image_kind(message: ImageMessage | CompressedImageMessage) -> Kind:
    """Tell whether an image is colour (grey included) or depth, without decoding it.

    A node's inputs take images by the same rules: what is "colour" here, `to_bgr` reads.

    Raises:
        MessageError: an encoding or a compression that no input takes.

    """
    if _is_compressed(message):
        return compressed_kinds(message)[0]
    _layout(message.encoding, _COLOUR | _DEPTH, "an image that is read here")
    return "depth" if message.encoding in _DEPTH else "colour"


def to_bgr(
    message: ImageMessage | CompressedImageMessage, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Return a colour or grey image as (H, W, 3) uint8, BGR.

    bgr8 comes back as a view of the message's bytes (rows as far apart as `step` says): do not
    write to it. Of 16-bit values eight bits are taken: of 8, 10, 12, 14 or 16 bits, the fewest
    that hold the brightest one, the upper eight. A compressed image that declares more than
    `max_pixels` is not decoded.

    Raises:
        MessageError: an encoding that is no colour image (depth included), a size, step or amount
            of data that contradict each other, or a compressed image that is cut off, damaged,
            too large or of another codec than JPEG and PNG.

    """
    if _is_compressed(message):
        if "colour" not in compressed_kinds(message):
            msg = f"compressed format {message.format!r} is depth: a colour image is expected"
            raise MessageError(msg, "encoding")
        encoding, pixels = decompress(message, "colour", max_pixels)
        layout = _layout(encoding, _COLOUR, "a colour image")
    else:
        layout = _layout(message.encoding, _COLOUR, "a colour image")
        pixels = _pixels(message, layout)
    if layout.dtype == "u2":
        pixels = _eight_bits(pixels)
    if layout.to_bgr is None:
        return pixels
    try:
        bgr: NDArray[np.uint8] = cv2.cvtColor(pixels, layout.to_bgr)  # type: ignore[assignment]
    except cv2.error as error:
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        msg = f"image {size} cannot be converted to BGR: {error.err}"
        raise MessageError(msg, "size") from error
    return bgr


def to_depth(
    message: ImageMessage | CompressedImageMessage, max_pixels: int = MAX_PIXELS
) -> NDArray[np.float32]:
    """Return a depth image as (H, W) float32, metres, NaN where nothing was seen (REP 118).

    Raises:
        MessageError: not depth, a size, step or amount of data that contradict each other, or a
            compressed image that is cut off, damaged or too large (`max_pixels`).

    """
    if _is_compressed(message):
        if "depth" not in compressed_kinds(message):
            msg = f"compressed format {message.format!r} is not depth: 16UC1 or 32FC1 is expected"
            raise MessageError(msg, "encoding")
        encoding, raw = decompress(message, "depth", max_pixels)
        layout = _layout(encoding, _DEPTH, "depth")
    else:
        layout = _layout(message.encoding, _READ_AS_DEPTH, "depth")
        raw = _pixels(message, layout)[..., 0]
    if layout.dtype == "u2":
        depth: NDArray[np.float32] = raw * _MILLIMETRE
        depth[raw == 0] = np.nan
        return depth
    depth = raw.astype(np.float32)
    # NaN compares false: everything that is not a distance goes the same way.
    depth[~((depth > 0) & (depth < np.inf))] = np.nan
    return depth


def to_image_message(image: NDArray[Any], header: Any, encoding: str = "bgr8") -> Any:  # noqa: ANN401
    """Return a `sensor_msgs/msg/Image` with a copy of the array.

    Args:
        image: (H, W) or (H, W, C), of the encoding's own dtype and channels.
        header: `std_msgs/msg/Header`, taken as it is.
        encoding: any that `to_bgr` or `to_depth` reads.

    """
    from sensor_msgs.msg import Image

    layout = (_COLOUR | _DEPTH)[encoding]
    height, width = image.shape[:2]
    pixels = np.ascontiguousarray(image, np.dtype(layout.dtype)).reshape(height, -1)
    # rclpy copies an array.array at once, but checks bytes and ndarray element by element.
    data = array.array("B")
    data.frombytes(pixels.data.cast("B"))
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * layout.channels * pixels.itemsize,
        data=data,
    )


def _is_compressed(
    message: ImageMessage | CompressedImageMessage,
) -> TypeIs[CompressedImageMessage]:
    return hasattr(message, "format")


def _layout(encoding: str, accepted: dict[str, _Layout], what: str) -> _Layout:
    layout = accepted.get(encoding)
    if layout is None:
        msg = f"encoding {encoding!r} is not {what}: accepted are {', '.join(accepted)}"
        raise MessageError(msg, "encoding")
    return layout


def _pixels(message: ImageMessage, layout: _Layout) -> NDArray[Any]:
    """Return a view (H, W, channels) of the message's bytes, in the message's byte order."""
    height, width, step = message.height, message.width, message.step
    dtype = np.dtype(layout.dtype).newbyteorder(">" if message.is_bigendian else "<")
    pixel = layout.channels * dtype.itemsize
    if height < 1 or width < 1:
        msg = f"{_name(message)} is empty: width and height must be at least 1"
        raise MessageError(msg, "size")
    if layout.channels == 2 and width % 2:  # noqa: PLR2004 - packed YUV: two pixels share a colour
        msg = f"{_name(message)} has an odd width: packed YUV needs an even one"
        raise MessageError(msg, "size")
    if step < width * pixel:
        msg = f"{_name(message)} has step {step}: at least {width * pixel} bytes hold one row"
        raise MessageError(msg, "step")
    needed = step * (height - 1) + width * pixel
    if len(message.data) < needed:
        msg = (
            f"{_name(message)} with step {step} has {len(message.data)} bytes of data: "
            f"{needed} are needed"
        )
        raise MessageError(msg, "data")
    shape = (height, width, layout.channels)
    view: NDArray[Any] = np.ndarray(
        shape, dtype, message.data, strides=(step, pixel, dtype.itemsize)
    )
    return view


def _eight_bits(pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return the upper eight of the bits that the sensor has: drivers put 10 to 14 into 16."""
    brightest = int(pixels.max())
    bits = next(bits for bits in _SENSOR_BITS if brightest < 1 << bits)
    return (pixels >> (bits - 8)).astype(np.uint8)


def _name(message: ImageMessage) -> str:
    return f"image {message.width}x{message.height} {message.encoding}"
