"""One thread that works on the newest item: what waits is replaced by what is newer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Calls `work(item)`, which must not raise, in a thread of its own between start and stop."""

    def __init__(self, work: Callable[[Item], None]) -> None:
        self._work = work
        self._waiting: Item | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to work."""
        thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread = thread
        thread.start()

    def give(self, item: Item) -> bool:
        """Leave an item for the thread; True if it took the place of one not yet begun."""
        with self._changed:
            replaced = self._waiting is not None
            self._waiting = item
            self._changed.notify()
            return replaced

    def stop(self) -> None:
        """Finish the item in work, forget the waiting one, and end the thread."""
        with self._changed:
            thread, self._thread = self._thread, None
            self._waiting = None
            self._changed.notify()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            self._work(item)

    def _next(self) -> Item | None:
        with self._changed:
            while self._waiting is None and self._thread is not None:
                self._changed.wait()
            item, self._waiting = self._waiting, None
            return item
