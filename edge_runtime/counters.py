"""What happened to the messages: counted for good, and over the last seconds."""

from __future__ import annotations

import threading
from collections import Counter, deque

_TICKS = 6


class Counters:
    """Named counts. Any thread may add; `tick` marks the time, once a second."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._ticks: deque[tuple[float, Counter[str]]] = deque(maxlen=_TICKS)
        self._lock = threading.Lock()

    def add(self, name: str, count: int = 1) -> None:
        """Count something that happened."""
        with self._lock:
            self._counts[name] += count

    def tick(self, now: float) -> None:
        """Mark the time, in seconds of a steady clock; `recent` and `rate` look back 5 marks."""
        with self._lock:
            self._ticks.append((now, self._counts.copy()))

    def total(self, name: str) -> int:
        """Return how often this happened since the start."""
        with self._lock:
            return self._counts[name]

    def with_prefix(self, prefix: str) -> dict[str, int]:
        """Return the totals of all names that begin so, by the rest of their name."""
        with self._lock:
            return {
                name[len(prefix) :]: count
                for name, count in sorted(self._counts.items())
                if name.startswith(prefix)
            }

    def recent(self, name: str) -> int:
        """Return how often this happened between the oldest and the newest mark."""
        with self._lock:
            return self._ticks[-1][1][name] - self._ticks[0][1][name] if self._ticks else 0

    def rate(self, name: str) -> float:
        """Return the same, per second."""
        recent = self.recent(name)
        with self._lock:
            seconds = self._ticks[-1][0] - self._ticks[0][0] if self._ticks else 0.0
        return recent / seconds if seconds else 0.0
