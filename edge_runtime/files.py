"""Outputs that are whole or not there at all, also when the power fails."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK = 1 << 20


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file so that readers see either the old or the new content, never a part.

    Text is written as UTF-8. The folder must exist.
    """
    temporary = _beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


@contextmanager
def whole_directory(target: Path) -> Iterator[Path]:
    """Yield an empty directory that takes the target's place when the block succeeds.

    When the block raises, the new directory is removed and an old target stays as it was.
    Parents of the target are made. Directories cannot be replaced in one step, so a crash
    exactly between the two renames leaves the old target whole under a hidden name beside it.
    """
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(target)
    temporary.mkdir()
    try:
        yield temporary
        for path in sorted(temporary.rglob("*")):
            _sync(path)
        _sync(temporary)
        if target.exists():
            old = _beside(target)
            target.rename(old)
            temporary.rename(target)
            _remove(old)
        else:
            temporary.rename(target)
        _sync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _beside(path: Path) -> Path:
    # Same folder, hence the same file system: only then is a rename atomic. Made with open/mkdir,
    # not tempfile, so that the result has the permissions of the user's umask.
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()
