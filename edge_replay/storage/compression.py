"""Zstandard and LZ4, also of data that is cut off."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_PIECE = 1 << 20
_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "zstd": zstd.ZstdDecompressor,
    "lz4": lz4.frame.LZ4FrameDecompressor,
}
ALGORITHMS = ("", *_DECOMPRESSORS)


class CompressionError(Exception):
    """Data that no such compressor has written."""


def decompress(data: bytes, algorithm: str) -> bytes:
    """Return the content, as far as it goes where the data is cut off.

    Raises:
        CompressionError: the data is damaged.
    """
    if not algorithm:
        return data
    parts = []
    try:
        while data:
            decompressor = _DECOMPRESSORS[algorithm]()
            parts.append(decompressor.decompress(data))
            data = decompressor.unused_data or b""
    except (zstd.ZstdError, RuntimeError) as error:
        message = f"its {algorithm} data is damaged"
        raise CompressionError(message) from error
    return b"".join(parts)


def decompress_file(source: Path, target: Path) -> bool:
    """Write the content of a zstd file; return whether it was whole.

    Raises:
        OSError: the target cannot be written.
    """
    decompressor = zstd.ZstdDecompressor()
    with source.open("rb") as packed, target.open("wb") as unpacked:
        try:
            while data := decompressor.unused_data or packed.read(_PIECE):
                if decompressor.eof:
                    decompressor = zstd.ZstdDecompressor()
                unpacked.write(decompressor.decompress(data))
        except zstd.ZstdError:
            return False
    return bool(decompressor.eof)
