"""Ctrl-C in a command: a clean end while it works, and no noise while it is still importing.

This module imports next to nothing, because it is there before anything else.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

INTERRUPTED = 130
_IMPORTING = "<frozen importlib._bootstrap>"


def end_silently() -> None:
    """Let Ctrl-C end the process at once: for a console script, until its command begins."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def interruptible(program: str, *also: signal.Signals) -> Iterator[None]:
    """Let Ctrl-C, and what is named `also`, raise KeyboardInterrupt.

    During an import it ends the process instead, with one line: libraries whose import is broken
    off raise errors of their own, print tracebacks, or hang.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number
        while frame is not None:
            if frame.f_code.co_filename == _IMPORTING:
                sys.stderr.write(f"{program}: interrupted\n")
                sys.stderr.flush()
                os._exit(INTERRUPTED)
            frame = frame.f_back
        raise KeyboardInterrupt

    # A shell starts what runs in the background with Ctrl-C ignored.
    numbers = [n for n in (signal.SIGINT, *also) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
