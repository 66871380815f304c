"""What to say when a disk is full, whichever library found out."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from tempfile import gettempdir
from typing import TYPE_CHECKING

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator

# EFBIG: larger than the file system (FAT: 4 GiB) or this user's limits allow.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SQLITE_FULL = "disk is full"


@contextmanager
def enough_space(called: str, then: str = "run again") -> Iterator[None]:
    """Turn the failure of a full disk into a line that names the folder and what to do.

    Args:
        called: the folder that is written to, as the user gave it: "--output DIR".
        then: what to do when there is space.

    Raises:
        SettingError: the block ran out of space.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            reason = error.strerror
        elif _SQLITE_FULL in str(error):
            reason = _SQLITE_FULL
        else:
            raise
        message = (
            f"{reason}: free space for {called} and for temporary files in {gettempdir()}, then "
            f"{then}"
        )
        raise SettingError(message) from error
