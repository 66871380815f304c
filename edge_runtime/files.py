"""Outputs that are whole or not there at all, also when the power fails."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from glob import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK = 1 << 20
_DIRECTORY = ".dir"
# Of Linux, for renameat2.
_FROM_HERE = -100
_RENAME_EXCHANGE = 2


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file so that readers see either the old or the new content, never a part.

    Text is written as UTF-8. The folder must exist.
    """
    with _temporary(path) as temporary:
        with temporary.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    _sync(path.parent)


@contextmanager
def whole_directory(target: Path) -> Iterator[Path]:
    """Yield an empty directory that takes the target's place when the block succeeds.

    When the block raises, the new directory is removed and an old target stays as it was.
    Parents of the target are made. Where the file system cannot exchange two directories in one
    step (NFS), a crash exactly between two renames leaves the old target whole beside it, as
    `.NAME.xxxxxxxx.old`.
    """
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(target) as temporary:
        new = temporary.with_suffix(_DIRECTORY)
        new.mkdir()
        yield new
        for path in sorted(new.rglob("*")):
            _sync(path)
        _sync(new)
        if target.exists():
            _exchange(new, target)
        else:
            new.rename(target)
        _sync(target.parent)


def regular_size(path: Path) -> int:
    """Return the bytes of a regular file. Of what else can be opened, reading may never end.

    Raises:
        OSError: the file is missing, or is a folder, a pipe or a device.

    """
    state = path.stat()
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "is a pipe or device, not a regular file", str(path))
    return state.st_size


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a regular file's content, read in pieces.

    Raises:
        OSError: see `regular_size`, or the file cannot be read.

    """
    regular_size(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """Yield a new file beside the target, with a hidden name; at the end it is removed.

    So is the directory of the same name with the suffix `_DIRECTORY`. The file is locked for as
    long as this process uses it, and the system lets go of a lock however a process ends: after a
    success, the temporaries that killed writers of the same target left behind are removed.
    """
    # Same folder, hence the same file system: only then is a rename atomic. Made with open/mkdir,
    # not tempfile, so that the result has the permissions of the user's umask.
    unlocked = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    temporary = unlocked.with_name(f"{unlocked.name}.tmp")
    with unlocked.open("xb") as file:
        # Where a file system has no locks, nobody can take this one either: nothing is removed.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        # Only now does it look like a temporary: nobody may find one that is not locked yet.
        unlocked.rename(temporary)
        try:
            yield temporary
            _remove_abandoned(target)
        finally:
            _remove(temporary)


def _remove_abandoned(target: Path) -> None:
    for leftover in target.parent.glob(f".{escape(target.name)}.{'[0-9a-f]' * 8}.tmp"):
        # Locked (its writer lives), gone meanwhile, or another user's: not ours to remove.
        with suppress(OSError), leftover.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(leftover)


def _remove(temporary: Path) -> None:
    directory = temporary.with_suffix(_DIRECTORY)
    # What stands in its place after an exchange may have been a file or a link.
    if directory.is_dir() and not directory.is_symlink():
        shutil.rmtree(directory, ignore_errors=True)
    else:
        directory.unlink(missing_ok=True)
    # Last, because it leads to the directory.
    temporary.unlink(missing_ok=True)


def _exchange(new: Path, target: Path) -> None:
    """Let two names swap what they stand for."""
    # Python has no name for this call, which leaves no moment without a target.
    swap = ctypes.CDLL(None).renameat2
    if swap(_FROM_HERE, os.fsencode(new), _FROM_HERE, os.fsencode(target), _RENAME_EXCHANGE) != 0:
        old = new.with_suffix(".old")
        target.rename(old)
        new.rename(target)
        old.rename(new)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
