"""ROS 2 bags in SQLite (.db3), also while a write-ahead log stands beside them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from edge_replay.storage.channel import Channel, ros2_type
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

MAGIC = b"SQLite format 3\0"


class SqliteStorage:
    """A .db3 file; opened for each reading."""

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        """Read the list of topics.

        Raises:
            SettingError: it cannot be read, or is no bag.
        """
        self._path = path
        self._note = note
        try:
            with closing(self._connect()) as database:
                counts = dict(
                    database.execute("SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id")
                )
                self.channels = [
                    Channel(key, name, ros2_type(type_), encoding, counts.get(key, 0))
                    for key, name, type_, encoding in database.execute(
                        "SELECT id, name, type, serialization_format FROM topics ORDER BY id"
                    )
                ]
        except sqlite3.Error as error:
            raise SettingError(self._refusal(error)) from error

    def messages(self, channels: Collection[int]) -> Iterator[tuple[int, int, bytes]]:
        """See `Storage`."""
        marks = ", ".join("?" * len(channels))
        query = (
            f"SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({marks}) "  # noqa: S608 (question marks)
            "ORDER BY timestamp, id"
        )
        with closing(self._connect()) as database:
            try:
                for channel, time, data in database.execute(query, tuple(channels)):
                    if isinstance(time, int) and isinstance(data, bytes):
                        yield channel, time, data
            except sqlite3.Error as error:
                self._note(f"{self._damage(error)}; what follows the damage is left out here")

    def _connect(self) -> sqlite3.Connection:
        # Immutable: a bag on a read-only disk opens, and no file appears beside it. But then
        # SQLite does not look at a log beside it, in which a recorder that was killed left data.
        mode = "mode=ro" if self._logs() else "mode=ro&immutable=1"
        # The thread that ends a reading early is not the one that began it.
        database = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?{mode}", uri=True, check_same_thread=False
        )
        database.text_factory = lambda text: text.decode(errors="replace")
        return database

    def _logs(self) -> list[Path]:
        beside = [self._path.with_name(f"{self._path.name}-{end}") for end in ("wal", "journal")]
        return [log for log in beside if log.is_file() and log.stat().st_size]

    def _refusal(self, error: sqlite3.Error) -> str:
        if logs := self._logs():
            return (
                f"{self._path} cannot be opened with its log {logs[0].name} ({error}): copy both "
                f"into a folder where you may write, and run `sqlite3 {self._path.name} "
                "'PRAGMA wal_checkpoint(TRUNCATE)'` there"
            )
        if "no such table" in str(error):
            return (
                f"{self._path} has not the tables of a ROS 2 bag ({error}): a recorder that was "
                f"killed leaves them in {self._path.name}-wal, which must stand beside it; without "
                "that file nothing is left of the recording"
            )
        return self._damage(error)

    def _damage(self, error: sqlite3.Error) -> str:
        name = self._path.name
        return (
            f"{self._path} is damaged ({error}): `sqlite3 {name} .recover | sqlite3 NEW.db3` saves "
            "what can be read"
        )
