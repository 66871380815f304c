"""`compress cache`: the rendered data sets that are kept, and how to be rid of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from edge_runtime.caching import SHARD_FILE, cache_directory
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class CachedSet:
    """A rendered data set.

    Attributes:
        title: what it is; empty of one that was made before sets said so.
        samples: how many; None where it is not said.
        bytes: on the disk.
        made: when the last of it was rendered.
    """

    folder: Path
    title: str
    samples: int | None
    bytes: int
    made: datetime


def cached_sets() -> list[CachedSet]:
    """Return what is there, the latest last."""
    folders = {shard.parent for shard in cache_directory().glob("*/*/[0-9]*") if shard.is_dir()}
    return sorted((_described(folder) for folder in folders), key=lambda each: each.made)


def clear(sets: Sequence[CachedSet]) -> None:
    """Remove them.

    Raises:
        SettingError: Not all of a set can be removed.
    """
    try:
        for each in sets:
            shutil.rmtree(each.folder)
    except OSError as error:
        message = f"'{error.filename}' cannot be removed ({error.strerror}): remove it yourself"
        raise SettingError(message) from error


def rows(sets: Sequence[CachedSet]) -> list[dict[str, object]]:
    """Return the table: a line for each set."""
    return [
        {
            "set": each.folder.name,
            "of": each.title,
            "images": each.samples,
            "MB": round(each.bytes / 1e6),
            "rendered": f"{each.made:%Y-%m-%d %H:%M}",
        }
        for each in sets
    ]


def _described(folder: Path) -> CachedSet:
    shards = [shard for shard in folder.glob("[0-9]*") if shard.is_dir()]
    notes = [_note(shard) for shard in shards]
    files = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return CachedSet(
        folder=folder,
        title=next((str(note["set"]) for note in notes if note), ""),
        samples=sum(int(note["samples"]) for note in notes if note) if all(notes) else None,
        bytes=sum(file.st_size for file in files),
        made=datetime.fromtimestamp(
            max(shard.stat().st_mtime for shard in shards), timezone.utc
        ).astimezone(),
    )


def _note(shard: Path) -> dict[str, str]:
    try:
        note: dict[str, str] = json.loads((shard / SHARD_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return note
