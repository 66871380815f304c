"""Messages of several cameras brought together by their stamps."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# The default of the parameter `slop`.
SLOP_S = 0.02
_SECOND = 1_000_000_000
_WAITING = 4
_ALIVE_NS = 1_000_000_000
_PATIENCE_NS = 200_000_000
_JITTER_NS = 5_000_000
_ARRIVAL_SLOP_NS = 50_000_000
_IN_VAIN = 8


@dataclass(frozen=True)
class _Item:
    """A message; `stamp` in ns, 0 for none, `arrival` in ns of a steady clock."""

    stamp: int
    message: Any
    arrival: int


def _offset(item: _Item, other: _Item) -> int:
    """Nanoseconds by which an item is later: by stamp, or by arrival where one has no stamp."""
    if item.stamp and other.stamp:
        return item.stamp - other.stamp
    return item.arrival - other.arrival


def _tolerance(item: _Item, other: _Item, slop_ns: int) -> int:
    # Arrivals are further apart than stamps, by what the middleware and the scheduler do.
    return slop_ns if item.stamp and other.stamp else max(slop_ns, _ARRIVAL_SLOP_NS)


def _is_near(item: _Item, other: _Item, slop_ns: int) -> bool:
    return abs(_offset(item, other)) <= _tolerance(item, other, slop_ns)


class _Partner:
    """Another input than the first: its last messages, and how they match the first one's."""

    def __init__(self, held: int) -> None:
        self.messages: deque[_Item] = deque(maxlen=held)
        # Since the last match: its own messages, and those of the first input without it.
        self._came = 0
        self._missed = 0

    def add(self, item: _Item) -> None:
        self.messages.append(item)
        self._came += 1

    def nearest(self, first: _Item, slop_ns: int) -> _Item | None:
        found, distance = None, 0
        for item in reversed(self.messages):
            away = abs(_offset(item, first))
            if found is None or away < distance:
                found, distance = item, away
        return found if found and distance <= _tolerance(found, first, slop_ns) else None

    def matched(self) -> None:
        self._came = self._missed = 0

    def missed(self) -> None:
        self._missed += 1

    def never_matches(self, now: int) -> bool:
        return min(self._came, self._missed) >= _IN_VAIN and self._is_alive(now)

    def may_come(self, first: _Item, found: _Item | None, slop_ns: int, now: int) -> bool:
        """Whether by its rhythm a partner, or a much nearer one than that found, is still due."""
        distance = None if found is None else abs(_offset(found, first))
        if distance is not None and distance <= _JITTER_NS:
            return False
        if not self._is_alive(now) or self.never_matches(now):
            return False
        period = min((abs(_offset(b, a)) for a, b in pairwise(self.messages)), default=0)
        last = self.messages[-1]
        due = _offset(last, first) + period
        if distance is None:
            return due <= _tolerance(last, first, slop_ns) + _JITTER_NS
        return abs(due) + _JITTER_NS < distance

    def _is_alive(self, now: int) -> bool:
        return bool(self.messages) and now - self.messages[-1].arrival < _ALIVE_NS


class Pairing:
    """Sets of messages: one of the first input, and of each other the nearest within the slop.

    A message without a stamp (0) is paired by its arrival, within 50 ms at least. A first message
    waits for the partners that it lacks, and goes without the optional ones. One of those is waited
    for only while it may still come: its input is alive (something came from it within the last
    second), by its rhythm a message with this stamp is due, and not longer than `_PATIENCE_NS`; and
    not at all while its stamps do not match. So a depth stream that is slower than the colour
    stream, or that has another clock, holds nothing up. Sets come out in the order of the first
    input. A message that is overtaken by a complete set, or by `held` newer ones, goes with
    what there is; without a required partner it is unpaired.
    """

    def __init__(
        self,
        first: str,
        required: Sequence[str],
        optional: Sequence[str],
        held: int = _WAITING,
    ) -> None:
        self.slop_ns = 0
        self.unpaired = 0
        self._first = first
        self._required = set(required)
        self._waiting: deque[_Item] = deque()
        self._gone: deque[_Item] = deque(maxlen=held)
        self._held = held
        self._partners = {name: _Partner(held) for name in [*required, *optional]}

    @property
    def is_waiting(self) -> bool:
        """Whether `take` may give more as time goes by."""
        return bool(self._waiting)

    def add(self, name: str, stamp: int, message: Any, now: float) -> list[dict[str, Any]]:  # noqa: ANN401
        """Take a message and return the sets that can go now, oldest first.

        Args:
            name: of the input that it came from.
            stamp: nanoseconds, 0 for none.
            message: anything.
            now: seconds of a steady clock.

        """
        item = _Item(stamp, message, int(now * _SECOND))
        if name == self._first:
            self._waiting.append(item)
        else:
            self._partners[name].add(item)
            if self._came_just_late(item):
                self._partners[name].matched()
        return self.take(now)

    def take(self, now: float) -> list[dict[str, Any]]:
        """Return the sets that can go at this time, oldest first."""
        at = int(now * _SECOND)
        count = max(0, len(self._waiting) - self._held)
        for position, item in enumerate(self._waiting, start=1):
            if position > count and self._can_go(item, at):
                count = position
        return self._go(count)

    def _go(self, count: int) -> list[dict[str, Any]]:
        sets = []
        for _ in range(count):
            item = self._waiting.popleft()
            found = {}
            for name, partner in self._partners.items():
                nearest = partner.nearest(item, self.slop_ns)
                if nearest is None:
                    partner.missed()
                else:
                    partner.matched()
                    found[name] = nearest.message
            self._gone.append(item)
            if self._required <= found.keys():
                sets.append({self._first: item.message, **found})
            else:
                self.unpaired += 1
        return sets

    def unmatched(self, now: float) -> dict[str, float]:
        """Return the optional inputs that are alive and never match the first one.

        Returns:
            By name, the seconds by which the input's newest message is later than the first
            input's last one.

        """
        at = int(now * _SECOND)
        return {
            name: _offset(partner.messages[-1], self._gone[-1]) / _SECOND
            for name, partner in self._partners.items()
            if name not in self._required and self._gone and partner.never_matches(at)
        }

    def clear(self) -> None:
        """Forget all messages, for example because time jumped."""
        self._waiting.clear()
        self._gone.clear()
        self._partners = {name: _Partner(self._held) for name in self._partners}

    def _can_go(self, item: _Item, now: int) -> bool:
        patient = now - item.arrival < _PATIENCE_NS
        for name, partner in self._partners.items():
            found = partner.nearest(item, self.slop_ns)
            if found is None and name in self._required:
                return False
            if patient and partner.may_come(item, found, self.slop_ns, now):
                return False
        return True

    def _came_just_late(self, item: _Item) -> bool:
        """Whether a message would have been a partner if one gone without it had waited."""
        overtaken = max(0, len(self._gone) + len(self._waiting) - self._held)
        return any(
            _is_near(item, gone, self.slop_ns) and item.arrival - gone.arrival < _PATIENCE_NS
            for gone in islice(self._gone, overtaken, None)
        )


class RecordedPairing(Pairing):
    """The same for messages of a recording, which come as fast as they are read.

    No clock tells what is still to come: a first message waits until each partner has one with its
    stamp or a later one. `rest` gives those that wait when the recording ends.
    """

    def rest(self) -> list[dict[str, Any]]:
        """Return the sets of the first messages that wait, oldest first."""
        return self._go(len(self._waiting))

    def _can_go(self, item: _Item, now: int) -> bool:
        del now
        return all(
            partner.messages and partner.messages[-1].stamp >= item.stamp
            for partner in self._partners.values()
        )
