"""One command at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def alone_in(folder: Path, called: str) -> Iterator[None]:
    """Hold a lock on the folder: two runs would take each other's files for their own.

    Raises:
        SettingError: another run holds it, or the file system has no locks; the message says of
            the folder how it was `called`.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # The system lets go of it when the process ends, however it ends.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        trouble = f"cannot be locked ({error.strerror}): give a folder of a local disk"
        if isinstance(error, BlockingIOError):
            trouble = "is in use by another run: wait until it has ended, or give another folder"
        message = f"{called} {trouble}"
        raise SettingError(message) from error
    try:
        yield
    finally:
        os.close(descriptor)
