"""Which of a process's threads goes first, where several want the processor."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

LATER = 5
"""Steps of niceness from tracking to mapping, and from that to the whole map's refinement."""


def yield_processor() -> None:
    """Let the thread that started this one have the processor first, on Linux."""
    thread = threading.get_native_id()
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + LATER)
