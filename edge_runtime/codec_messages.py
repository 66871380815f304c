"""What the libraries that decode JPEG and PNG print by themselves, taken off standard error."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# libpng, libjpeg's warnings (jerror.h) and OpenCV's log.
_CODECS = (
    "libpng ",
    "Corrupt JPEG data",
    "Premature end of JPEG",
    "Invalid SOS parameters",
    "Inconsistent progression sequence",
    "Unknown Adobe color transform",
    "Warning: unknown JFIF revision",
    "[ WARN:",
    "[ERROR:",
)
_STDERR = 2
_lock = threading.Lock()


@contextmanager
def codec_messages() -> Iterator[list[str]]:
    """Collect the lines that codecs print inside the block; they are in the list at its end.

    The libraries write to the process's file descriptor and offer no other way to hear that a
    picture was cut off and filled in. Lines of other threads are passed on.
    """
    said: list[str] = []
    with _lock:
        try:
            stderr = os.dup(_STDERR)
        except OSError:  # closed: nobody reads them
            yield said
            return
        memory = os.memfd_create("codec messages")
        os.dup2(memory, _STDERR)
        try:
            yield said
        finally:
            os.dup2(stderr, _STDERR)
            os.close(stderr)
            size = os.lseek(memory, 0, os.SEEK_CUR)
            text = os.pread(memory, size, 0) if size else b""
            os.close(memory)
            said += _sorted_out(text.decode(errors="replace"))


def _sorted_out(text: str) -> list[str]:
    said = []
    for line in text.splitlines(keepends=True):
        if line.startswith(_CODECS):
            said.append(line.strip())
        else:
            os.write(_STDERR, line.encode())
    return said
