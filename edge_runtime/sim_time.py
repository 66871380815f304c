"""The times of /clock, checked before rclpy takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_SECOND = 1_000_000_000
_LAST_SECOND = 2**31 - 1


def checked_clock(
    take: Callable[[Any], None], reject: Callable[[str, str], None]
) -> Callable[[Any], None]:
    """Return a callback for /clock that hands on only what a node's clock can hold and say.

    rclpy raises at a negative time, in its own callback, which would end the node. `reject` gets
    the kind and the line for the others, of which none changes the clock.
    """

    def check(message: Any) -> None:  # noqa: ANN401
        seconds, nanoseconds = message.clock.sec, message.clock.nanosec
        if seconds >= 0 and seconds + nanoseconds // _SECOND <= _LAST_SECOND:
            take(message)
        else:
            reject(
                "clock",
                f"/clock says {seconds} s and {nanoseconds} ns: allowed are 0 s to {_LAST_SECOND} "
                "s; the time before holds, correct what publishes /clock",
            )

    return check
