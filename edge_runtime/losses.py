"""Messages that were published and never reached a subscription."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MOST = 1 << 30
"""Losses of one report; more are no number of messages.

Where an image of which a part is missing is given up after a whole one with a higher number has
come, the best-effort reader of Fast DDS (3.2 to 3.6, `StatelessReader::process_data_frag_msg`)
subtracts the numbers the wrong way about, limits the result to 2^31 - 1 and adds that to a signed
32-bit count, which may become negative and reaches us as 2^64 less so many.
"""


class Losses:
    """The losses of one subscription, told by gaps in sequence numbers and by the middleware.

    A gap shows what a reliable publisher overwrote before it was sent, and what was replaced in the
    reader's queue, of which the middleware says nothing. The middleware knows of what was lost when
    nothing comes at all. They overlap: the larger count holds.
    """

    def __init__(self, lost: Callable[[int], None], has_one_publisher: Callable[[], bool]) -> None:
        """Call `lost` with each number of new losses.

        `has_one_publisher` is asked where the middleware does not say who published a message:
        without it the numbers of several publishers are no row.
        """
        self._lost = lost
        self._has_one_publisher = has_one_publisher
        self._last: dict[bytes, int] = {}
        self._gaps = 0
        self._events = 0
        self._told = 0

    def received(self, info: Mapping[str, Any]) -> None:
        """Take what rclpy says about a message that came (its MessageInfo, empty if none)."""
        number = info.get("publication_sequence_number")
        if number is None:  # not every middleware numbers messages
            return
        identity = info.get("publisher_gid")
        publisher = identity["data"] if identity else b""
        missing = number - self._last.get(publisher, number) - 1
        self._last[publisher] = number
        if missing > 0 and (publisher or self._has_one_publisher()):
            self._gaps += missing
            self._tell()

    def reported(self, count: int) -> None:
        """Take losses that the middleware reports by itself, if it can count."""
        if count < _MOST:
            self._events += count
            self._tell()

    def _tell(self) -> None:
        new = max(self._gaps, self._events) - self._told
        if new > 0:
            self._told += new
            self._lost(new)
