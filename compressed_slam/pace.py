"""How long a picture may take, where the next one comes whether or not it is done."""

from __future__ import annotations

import math
from collections import deque

_REMEMBERED = 8  # pictures; a gap of one that was dropped is not the shortest among so many
_SHARE = 0.75  # of the time between two; the rest is for what else is done for each


class Pace:
    """Learns how fast pictures come from the times at which they came."""

    def __init__(self) -> None:
        """Begin without a picture."""
        self._last: float | None = None
        self._gaps: deque[float] = deque(maxlen=_REMEMBERED)

    def deadline(self, arrived: float | None) -> float:
        """Return when a picture should be done that came at `arrived`, seconds of the same clock.

        Infinite for the first one, and where nobody says when it came: then it has all the time.
        """
        if arrived is None:
            return math.inf
        if self._last is not None:
            self._gaps.append(arrived - self._last)
        self._last = arrived
        return arrived + _SHARE * min(self._gaps) if self._gaps else math.inf
