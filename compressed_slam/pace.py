"""How long a picture may take, where the next one comes whether or not it is done."""

from __future__ import annotations

import math
from collections import deque

_REMEMBERED = 8  # gaps; those of pictures that were dropped are not among the shortest of so many
_SECOND = 1  # shortest of these: where a picture comes late, the next one comes too soon after it
_SHARE = 0.75  # of the time between two; the rest is for what else is done for each


class Pace:
    """Learns how fast pictures come.

    What is between two is the longer of two times, by their stamps and by when they came: who asks
    for one answer after the other hurries no one, nor do pictures that were held up.
    """

    def __init__(self) -> None:
        """Begin without a picture."""
        self._last: tuple[float, int] | None = None
        self._gaps: deque[float] = deque(maxlen=_REMEMBERED)

    def deadline(self, stamp: int, arrived: float | None) -> float:
        """Return when a picture should be done that came at `arrived`, seconds of the same clock.

        Infinite for the first one, and where nobody says when it came: then it has all the time.
        `stamp` is the picture's own, nanoseconds.
        """
        if arrived is None:
            return math.inf
        if self._last is not None:
            came, taken = self._last
            self._gaps.append(max(arrived - came, 1e-9 * (stamp - taken)))
        self._last = arrived, stamp
        if not self._gaps:
            return math.inf
        return arrived + _SHARE * sorted(self._gaps)[: _SECOND + 1][-1]
