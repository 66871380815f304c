"""Messages of several cameras brought together by their stamps."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# The default of the parameter `slop`.
SLOP_S = 0.02
_WAITING = 4
_ALIVE_S = 1.0
_PATIENCE_S = 0.2
_JITTER_NS = 5_000_000


@dataclass(frozen=True)
class _Waiting:
    """A message of the first input that has not all its partners yet."""

    stamp: int
    message: Any
    since: float


class Pairing:
    """Sets of messages: one of the first input, and of each other the nearest within the slop.

    A first message waits for the partners that it lacks, and goes without the optional ones. One
    of those is waited for only while it may still come: its input is alive (something came from
    it within the last second), by its rhythm a message with this stamp is due, and not longer than
    `_PATIENCE_S`. So a depth stream that is slower than the colour stream holds nothing up. Sets
    come out in the order of the first input. A message that is overtaken by a complete set, or by
    `_WAITING` newer ones, goes with what there is; without a required partner it is unpaired.
    """

    def __init__(self, first: str, required: Sequence[str], optional: Sequence[str]) -> None:
        self.slop_ns = 0
        self.unpaired = 0
        self._first = first
        self._required = set(required)
        self._waiting: deque[_Waiting] = deque()
        self._others: dict[str, deque[tuple[int, Any]]] = {
            name: deque(maxlen=_WAITING) for name in [*required, *optional]
        }
        self._last_heard: dict[str, float] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether `take` may give more as time goes by."""
        return bool(self._waiting)

    def add(self, name: str, stamp: int, message: Any, now: float) -> list[dict[str, Any]]:  # noqa: ANN401
        """Take a message and return the sets that can go now, oldest first.

        Args:
            name: of the input that it came from.
            stamp: nanoseconds.
            message: anything.
            now: seconds of a steady clock.

        """
        if name == self._first:
            self._waiting.append(_Waiting(stamp, message, now))
        else:
            self._others[name].append((stamp, message))
            self._last_heard[name] = now
        return self.take(now)

    def take(self, now: float) -> list[dict[str, Any]]:
        """Return the sets that can go at this time, oldest first."""
        ready = [index for index, item in enumerate(self._waiting) if self._can_go(item, now)]
        going = max([0, len(self._waiting) - _WAITING, *(index + 1 for index in ready)])
        sets = []
        for item in [self._waiting.popleft() for _ in range(going)]:
            found = self._partners(item.stamp)
            if self._required <= found.keys():
                sets.append({self._first: item.message, **found})
            else:
                self.unpaired += 1
        return sets

    def clear(self) -> None:
        """Forget what is waiting, for example because time jumped."""
        self._waiting.clear()
        for messages in self._others.values():
            messages.clear()

    def _can_go(self, item: _Waiting, now: float) -> bool:
        missing = self._others.keys() - self._partners(item.stamp).keys()
        if missing & self._required:
            return False
        patient = now - item.since < _PATIENCE_S
        return not (patient and any(self._may_come(name, item.stamp, now) for name in missing))

    def _partners(self, stamp: int) -> dict[str, Any]:
        found = {}
        for name, candidates in self._others.items():
            near = [(abs(other - stamp), index) for index, (other, _) in enumerate(candidates)]
            distance, index = min(near, default=(self.slop_ns + 1, 0))
            if distance <= self.slop_ns:
                found[name] = candidates[index][1]
        return found

    def _may_come(self, name: str, stamp: int, now: float) -> bool:
        stamps = [other for other, _ in self._others[name]]
        if not stamps or now - self._last_heard[name] >= _ALIVE_S:
            return False
        period = min((later - earlier for earlier, later in pairwise(stamps)), default=0)
        return stamps[-1] + period <= stamp + self.slop_ns + _JITTER_NS
