"""Warnings that a stream of bad messages cannot turn into a flood."""

from __future__ import annotations

import threading
import time

_SILENCE_S = 5.0


class LogThrottle:
    """Lets one line of each kind through in 5 s; the next one says how many were held back."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._held_back: dict[str, int] = {}
        self._lock = threading.Lock()

    def due(self, kind: str, message: str) -> str | None:
        """Return the line to log now, None if one of its kind was let through in the last 5 s."""
        now = time.monotonic()
        with self._lock:
            if now - self._last.get(kind, -_SILENCE_S) < _SILENCE_S:
                self._held_back[kind] = self._held_back.get(kind, 0) + 1
                return None
            self._last[kind] = now
            more = self._held_back.pop(kind, 0)
        return f"{message} ({more} more since the last warning)" if more else message
