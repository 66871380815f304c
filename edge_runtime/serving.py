"""Spinning a node through everything that its callbacks may raise."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from rclpy.executors import Executor

# A node's timers come once a second: an executor that does nothing right for so long is broken.
_BROKEN_S = 10.0


def serve(executor: Executor, stop: threading.Event, failed: Callable[[Exception], None]) -> None:
    """Spin until `stop` is set; what a callback raises goes to `failed`, and the next is served.

    Among the callbacks are those that rclpy adds to every node, for parameters and life cycle:
    some raise at requests that make no sense.

    Raises:
        Exception: the executor's, if nothing else has come from it for 10 s.

    """
    succeeded = time.monotonic()
    while not stop.is_set():
        try:
            executor.spin_once()
            succeeded = time.monotonic()
        except Exception as error:  # noqa: PERF203
            if time.monotonic() - succeeded > _BROKEN_S:
                raise
            failed(error)
