"""Where mapping is done: in the call that asks for it, or in a thread beside tracking."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Protocol

from compressed_slam.priority import yield_processor

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[], None]

_LOG = logging.getLogger(__name__)


class Executor(Protocol):
    """Does one thing after the other."""

    @property
    def has_room(self) -> bool:
        """Whether more keyframes may be given; only who gives them makes that false."""

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or waits."""

    def behind(self) -> bool:
        """Whether something waits until the present work is done."""

    def give(self, work: Work) -> None:
        """Do it, now or later."""

    def wait(self) -> None:
        """Return when all is done that was given."""

    def close(self) -> None:
        """Finish what is under way, and do nothing more."""


class Inline:
    """Does everything at once: for recordings, which wait, and the same every time."""

    has_room = True
    idle = True

    def behind(self) -> bool:
        """Nothing ever waits."""
        return False

    def give(self, work: Work) -> None:
        """Do it now."""
        work()

    def wait(self) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """There is nothing to end."""


class Beside:
    """A thread with a bounded queue, which lets the one that made it have the processor first.

    What the work raises is logged, and the next is done.
    """

    def __init__(self, name: str, waiting: int) -> None:
        """`waiting`: at most so many wait for the one that is done."""
        self._most = waiting
        self._queue: deque[Work] = deque()
        self._changed = threading.Condition()
        self._busy = self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def has_room(self) -> bool:
        """See `Executor`."""
        return len(self._queue) < self._most

    @property
    def idle(self) -> bool:
        """See `Executor`."""
        return not (self._queue or self._busy)

    def behind(self) -> bool:
        """See `Executor`."""
        return bool(self._queue)

    def give(self, work: Work) -> None:
        """See `Executor`."""
        with self._changed:
            self._queue.append(work)
            self._changed.notify_all()

    def wait(self) -> None:
        """See `Executor`."""
        with self._changed:
            self._changed.wait_for(lambda: self.idle)

    def close(self) -> None:
        """See `Executor`."""
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        yield_processor()
        while (work := self._next()) is not None:
            try:
                work()
            except Exception:  # noqa: BLE001 - the next one is done
                _LOG.exception("mapping failed; the map stays as it was before this keyframe")
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _next(self) -> Work | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if self._closed:
                return None
            self._busy = True
            return self._queue.popleft()
