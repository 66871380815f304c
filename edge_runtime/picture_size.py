"""The size that a JPEG or PNG file declares, read before anything is decoded."""

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


def declared_size(data: memoryview) -> tuple[int, int] | None:
    """Return (width, height); None for what is neither JPEG nor PNG, or has no whole header."""
    if bytes(data[:2]) == JPEG:
        return _jpeg_size(data)
    if bytes(data[:8]) == PNG and bytes(data[12:16]) == b"IHDR" and len(data) >= _PNG_HEADER:
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    return None


def is_grey16_png(data: memoryview) -> bool:
    """Tell whether it is a PNG with one channel of 16 bits."""
    return bytes(data[:8]) == PNG and bytes(data[24:26]) == b"\x10\x00"


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
