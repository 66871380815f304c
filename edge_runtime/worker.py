"""One thread that works on the newest items: what waits is replaced by what is newer."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Item = TypeVar("Item")


class Job(ABC):
    """Work that somebody asked for: nothing newer takes its place."""

    @abstractmethod
    def run(self) -> None:
        """Do it."""

    @abstractmethod
    def cancel(self) -> None:
        """Learn that it will not be done; must not raise."""


class Worker(Generic[Item]):
    """Calls `work(item)` in a thread of its own between start and stop.

    What `work` raises goes to `failed`, which must not raise, and the next item is worked on.
    """

    def __init__(self, work: Callable[[Item], None], failed: Callable[[Exception], None]) -> None:
        self._work = work
        self._failed = failed
        # What is worked on in any case, then the newest items.
        self._ahead: deque[Item | Job] = deque()
        self._waiting: deque[Item] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to work."""
        thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread = thread
        thread.start()

    def give(self, items: Iterable[Item]) -> int:
        """Leave items that belong together; return how many not yet begun they take the place of.

        They are worked on in their order, each unless newer items come before its turn.
        """
        with self._changed:
            replaced = len(self._waiting)
            self._waiting = deque(items)
            self._changed.notify()
            return replaced

    def ask(self, job: Job) -> None:
        """Have a job run after all that waits now; cancel it where no thread works."""
        with self._changed:
            if self._thread is None:
                job.cancel()
                return
            self._ahead.extend(self._waiting)
            self._ahead.append(job)
            self._waiting.clear()
            self._changed.notify()

    def stop(self) -> None:
        """Finish what is in work, cancel the jobs, forget the items, and end the thread."""
        with self._changed:
            thread, self._thread = self._thread, None
            ahead, self._ahead = self._ahead, deque()
            self._waiting.clear()
            self._changed.notify()
        for one in ahead:
            if isinstance(one, Job):
                one.cancel()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            try:
                if isinstance(item, Job):
                    item.run()
                else:
                    self._work(item)
            # Whatever one item does, the next one is served.
            except Exception as error:  # noqa: BLE001, PERF203
                self._failed(error)

    def _next(self) -> Item | Job | None:
        with self._changed:
            while not (self._ahead or self._waiting) and self._thread is not None:
                self._changed.wait()
            queue = self._ahead or self._waiting
            return queue.popleft() if queue else None
