"""What a JPEG or PNG file declares, read before anything is decoded."""

from __future__ import annotations

import struct

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_FILL = 0xFF
_MOST_SEGMENTS = 1000
_FRAME_HEADER = 9
_PNG_HEADER = 24
_AROUND_CHUNK = 12


def declared_size(data: memoryview) -> tuple[int, int]:
    """Return (width, height).

    Raises:
        ValueError: neither JPEG nor PNG, or cut off as far as can be told without decoding.

    """
    if bytes(data[:2]) == JPEG:
        size = _jpeg_size(data)
    elif bytes(data[:8]) == PNG:
        size = _png_size(data)
    else:
        message = "it is neither JPEG nor PNG"
        raise ValueError(message)
    if size is None:
        message = "it is cut off or damaged"
        raise ValueError(message)
    return size


def is_grey16_png(data: memoryview) -> bool:
    """Tell whether it is a PNG with one channel of 16 bits."""
    return bytes(data[:8]) == PNG and bytes(data[24:26]) == b"\x10\x00"


def _png_size(data: memoryview) -> tuple[int, int] | None:
    if len(data) < _PNG_HEADER or bytes(data[12:16]) != b"IHDR":
        return None
    place, name = len(PNG), b""
    # OpenCV makes room for what a chunk declares, up to 4 GB, before it looks whether it is there.
    while name != b"IEND":
        if place + _AROUND_CHUNK > len(data):
            return None
        length = int.from_bytes(data[place : place + 4], "big")
        name = bytes(data[place + 4 : place + 8])
        place += length + _AROUND_CHUNK
    if place > len(data):
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _jpeg_size(data: memoryview) -> tuple[int, int] | None:
    place = len(JPEG)
    for _ in range(_MOST_SEGMENTS):
        if place + _FRAME_HEADER > len(data) or data[place] != _FILL:
            return None
        marker = data[place + 1]
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        if marker == _FILL:
            place += 1
        elif marker in _WITHOUT_LENGTH:
            place += 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None
