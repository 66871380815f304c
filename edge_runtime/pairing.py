"""Messages of several cameras brought together by their stamps."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_WAITING = 4
_ALIVE_S = 1.0


class Pairing:
    """Sets of messages: one of the first input, and of each other the nearest within the slop.

    A set is complete as soon as every other input has given its message. An optional input is
    waited for only while it is alive, which means that something came from it within the last
    second; without it, sets hold the rest. Sets come out in the order of the first input's
    stamps; a first message that is overtaken, or that finds no partner before `_WAITING` newer
    ones have come, is unpaired (optional ones missing: it comes out without them instead).
    """

    def __init__(self, first: str, required: Sequence[str], optional: Sequence[str]) -> None:
        self.slop_ns = 0
        self.unpaired = 0
        self._first = first
        self._required = set(required)
        self._waiting: deque[tuple[int, Any]] = deque()
        self._others: dict[str, deque[tuple[int, Any]]] = {
            name: deque(maxlen=_WAITING) for name in [*required, *optional]
        }
        self._last_heard: dict[str, float] = {}

    def add(self, name: str, stamp: int, message: Any, now: float) -> list[dict[str, Any]]:  # noqa: ANN401
        """Take a message and return the sets that are complete now, oldest first.

        Args:
            name: of the input that it came from.
            stamp: nanoseconds.
            message: anything.
            now: seconds of a steady clock.

        """
        if name == self._first:
            self._waiting.append((stamp, message))
        else:
            self._others[name].append((stamp, message))
            self._last_heard[name] = now
        for index in range(len(self._waiting) - 1, -1, -1):
            complete = self._match(*self._waiting[index], now)
            if complete is not None:
                for _ in range(index + 1):
                    self._waiting.popleft()
                self.unpaired += index
                return [complete]
        return self._expire()

    def clear(self) -> None:
        """Forget what is waiting, for example because time jumped."""
        self._waiting.clear()
        for messages in self._others.values():
            messages.clear()

    def _match(self, stamp: int, message: Any, now: float) -> dict[str, Any] | None:  # noqa: ANN401
        found = {self._first: message}
        for name in self._others:
            partner = self._partner(name, stamp)
            if partner is not None:
                found[name] = partner
            elif name in self._required or self._is_alive(name, now):
                return None
        return found

    def _partner(self, name: str, stamp: int) -> Any | None:  # noqa: ANN401
        candidates = self._others[name]
        if not candidates:
            return None
        distance, index = min((abs(other - stamp), i) for i, (other, _) in enumerate(candidates))
        return candidates[index][1] if distance <= self.slop_ns else None

    def _is_alive(self, name: str, now: float) -> bool:
        return now - self._last_heard.get(name, -_ALIVE_S) < _ALIVE_S

    def _expire(self) -> list[dict[str, Any]]:
        if len(self._waiting) <= _WAITING:
            return []
        stamp, message = self._waiting.popleft()
        partners = {name: self._partner(name, stamp) for name in self._others}
        if any(partners[name] is None for name in self._required):
            self.unpaired += 1
            return []
        present = {name: partner for name, partner in partners.items() if partner is not None}
        return [{self._first: message, **present}]
