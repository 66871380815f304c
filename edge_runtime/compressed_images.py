"""Compressed images as `image_transport` writes them: JPEG, PNG and compressedDepth."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, Protocol

import cv2
import numpy as np

from edge_runtime.codec_messages import codec_messages
from edge_runtime.errors import MessageError
from edge_runtime.picture_file import JPEG, PNG, declared_size, is_grey16_png
from edge_runtime.rvl import decode_rvl

if TYPE_CHECKING:
    from numpy.typing import NDArray

    class CompressedImageMessage(Protocol):
        """The fields of `sensor_msgs/msg/CompressedImage`."""

        format: str
        data: Any


Kind = Literal["colour", "depth"]

MAX_PIXELS = 40_000_000
"""An image that declares more is not decoded, unless the caller says so."""

_ACCEPTED = "JPEG, PNG and compressedDepth (PNG, RVL), whole, are accepted"
_DEPTH = ("16UC1", "32FC1")
# Before the picture: four bytes that say nothing, two parameters of the quantisation.
_DEPTH_HEADER = struct.Struct("<4xff")
_RVL_HEADER = struct.Struct("<II")
# What codecs say where they fill in what is missing. Bytes too many do no harm: some cameras add
# them.
_DAMAGE = (
    "libpng error",
    "Premature end of JPEG",
    "Corrupt JPEG data: premature end",
    "Corrupt JPEG data: bad",
    "Corrupt JPEG data: found marker",
)


def compressed_kinds(message: CompressedImageMessage) -> tuple[Kind, ...]:
    """Return what a compressed image may be taken for, the likelier first, without decoding it.

    16-bit grey in a PNG may be both where the format does not say what it is.

    Raises:
        MessageError: another codec, or depth in a JPEG.

    """
    data = memoryview(message.data)
    start = bytes(data[:8])
    named = _named_encoding(message)
    if _is_compressed_depth(message, data):
        return ("depth",)
    known = start.startswith((JPEG, PNG)) or any(
        word in message.format.lower() for word in ("jpeg", "jpg", "png")
    )
    if not known:
        raise _unusable(message, "cannot be decoded", _ACCEPTED, "encoding")
    if named == "32FC1" or (named == "16UC1" and start.startswith(JPEG)):
        remedy = "publish 16UC1 as PNG, compressedDepth, or raw"
        raise _unusable(message, "is depth in a codec that spoils it", remedy, "encoding")
    if named == "16UC1":
        return ("depth",)
    return ("depth", "colour") if not named and is_grey16_png(data) else ("colour",)


def decompress(
    message: CompressedImageMessage, kind: Kind, max_pixels: int
) -> tuple[str, NDArray[Any]]:
    """Decode an image to what it was before it was compressed.

    Args:
        message: any.
        kind: one of its `compressed_kinds`.
        max_pixels: an image that declares more is refused before it is decoded.

    Returns:
        Encoding as of `sensor_msgs/msg/Image`, and (H, W) or (H, W, C) pixels. Bayer patterns
        and 16-bit values stay such.

    Raises:
        MessageError: not accepted, cut off, damaged or too large.

    """
    data = np.frombuffer(message.data, np.uint8)
    if _is_compressed_depth(message, data.data):
        return _decode_depth(message, data, max_pixels)
    pixels = _decode_picture(message, data, max_pixels)
    return _encoding(message, pixels, kind), pixels


def _named_encoding(message: CompressedImageMessage) -> str:
    """Return the encoding before compression; "" where only the codec is named.

    image_transport writes "ENCODING; CODEC compressed ENCODING_INSIDE".
    """
    encoding, separator, _ = message.format.partition(";")
    return encoding.strip() if separator else ""


def _encoding(message: CompressedImageMessage, pixels: NDArray[Any], kind: Kind) -> str:
    """Name what was decoded, as image_transport's subscriber does."""
    named = _named_encoding(message)
    inside = message.format.partition(";")[2]
    bits = 8 * pixels.itemsize
    if pixels.ndim == 3:  # noqa: PLR2004 - rows, columns, channels
        # OpenCV gives BGR. But who does not say "compressed bgr" has given RGB to OpenCV, which
        # took it for BGR.
        swapped = named.startswith(("rgb", "bgr")) and "compressed bgr" not in inside
        alpha = "a" if pixels.shape[2] == 4 else ""  # noqa: PLR2004
        return f"{'rgb' if swapped else 'bgr'}{alpha}{bits}"
    if kind == "depth":
        return f"{bits}UC1"
    if named.startswith("bayer_") and "compressed mono" not in inside:
        return f"{named.rstrip('0123456789')}{bits}"
    return f"mono{bits}"


def _is_compressed_depth(message: CompressedImageMessage, data: memoryview) -> bool:
    return "compressedDepth" in message.format or _has_depth_header(data)


def _has_depth_header(data: memoryview) -> bool:
    return bytes(data[_DEPTH_HEADER.size : _DEPTH_HEADER.size + len(PNG)]) == PNG


def _decode_depth(
    message: CompressedImageMessage, data: NDArray[np.uint8], max_pixels: int
) -> tuple[str, NDArray[Any]]:
    is_rvl = "compressedDepth rvl" in message.format
    scale = shift = 0.0
    if is_rvl or _has_depth_header(data.data):
        if data.size < _DEPTH_HEADER.size:
            raise _undecodable(message, "it has no header")
        scale, shift = _DEPTH_HEADER.unpack_from(data.data)
        data = data[_DEPTH_HEADER.size :]
    stored = (_decode_rvl if is_rvl else _decode_picture)(message, data, max_pixels)
    named = _named_encoding(message)
    if stored.ndim == 2 and (named == "32FC1" or (named not in _DEPTH and scale)):  # noqa: PLR2004
        # Inverse depth, quantised; 0 stands for what was not seen.
        with np.errstate(all="ignore"):
            metres = np.float32(scale) / (stored.astype(np.float32) - np.float32(shift))
        metres[stored == 0] = np.nan
        return "32FC1", metres
    return _encoding(message, stored, "depth"), stored


def _decode_rvl(
    message: CompressedImageMessage, data: NDArray[np.uint8], max_pixels: int
) -> NDArray[Any]:
    if data.size < _RVL_HEADER.size:
        raise _undecodable(message, "it has no header")
    width, height = _RVL_HEADER.unpack_from(data.data)
    _check_size(message, width, height, max_pixels)
    try:
        depth = decode_rvl(data[_RVL_HEADER.size :], width * height)
    except ValueError as error:
        raise _undecodable(message, str(error)) from error
    return depth.reshape(height, width)


def _decode_picture(
    message: CompressedImageMessage, data: NDArray[np.uint8], max_pixels: int
) -> NDArray[Any]:
    try:
        size = declared_size(data.data)
    except ValueError as error:
        raise _undecodable(message, str(error)) from error
    _check_size(message, *size, max_pixels)
    pixels = None
    # What OpenCV raises names lines of its own code: nothing that a user could act on.
    with codec_messages() as said, suppress(cv2.error):
        # Unchanged in orientation, too: what a photograph's EXIF data says would turn it away
        # from its camera matrix.
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    damage = next((line for line in said if line.startswith(_DAMAGE)), None)
    if pixels is None or damage:
        raise _undecodable(message, damage or "it is cut off or damaged")
    return pixels


def _check_size(message: CompressedImageMessage, width: int, height: int, most: int) -> None:
    if not 1 <= width * height <= most:
        problem = f"declares {width}x{height} pixels"
        remedy = f"1 pixel to {most / 1e6:g} megapixels are decoded (parameter 'max_megapixels')"
        raise _unusable(message, problem, remedy, "size")


def _undecodable(message: CompressedImageMessage, why: str) -> MessageError:
    return _unusable(message, f"cannot be decoded ({why})", _ACCEPTED, "data")


def _unusable(
    message: CompressedImageMessage, problem: str, remedy: str, kind: str
) -> MessageError:
    size = len(message.data)
    return MessageError(
        f"compressed image ({message.format!r}, {size} bytes) {problem}: {remedy}", kind
    )
