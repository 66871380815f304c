"""What Fast DDS leaves in shared memory when a process that sends is killed."""

from __future__ import annotations

import fcntl
import re
import time
from contextlib import suppress
from pathlib import Path

_FOLDER = Path("/dev/shm")  # noqa: S108 - where Linux keeps shared memory
# Named after a random id; the lock beside it is held as long as its process lives. `fastdds shm
# clean` of eProsima goes by the same, but comes with few installations.
_LOCK = re.compile(r"fast(dds|rtps)_[0-9a-f]{16}_el")
# A process makes the file of its lock before it takes the lock.
_NEW_S = 10.0


def free_abandoned_segments(folder: Path = _FOLDER) -> int:
    """Remove the segments of processes that no longer live; return how many there were.

    A process that is killed cannot remove its own, 16 MiB each with our profile, and Fast DDS
    never does: a node that is killed and started again would fill the memory. Segments of living
    processes and of other users stay.
    """
    freed = 0
    for lock in list(folder.iterdir()) if folder.is_dir() else []:
        if not _LOCK.fullmatch(lock.name):
            continue
        with suppress(OSError), lock.open("ab") as file:  # another user's, or gone by now
            if time.time() - lock.stat().st_mtime < _NEW_S:
                continue
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.with_name(lock.name.removesuffix("_el")).unlink(missing_ok=True)
            lock.unlink()
            freed += 1
    return freed
