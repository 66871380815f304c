"""How far long work is: a bar that moves on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar, overload

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

_TERMINAL_INTERVAL = 0.2  # seconds
_LOG_INTERVAL = 30.0
_MOVES = ("\r", "\x1b[A")  # of the cursor


@overload
def progress(iterable: None = None, **options: object) -> tqdm[NoReturn]: ...
@overload
def progress(iterable: Iterable[T], **options: object) -> tqdm[T]: ...
def progress(iterable: Iterable[T] | None = None, **options: Any) -> tqdm[T] | tqdm[NoReturn]:
    """Show progress on standard error: where that is no terminal, as whole lines without bars.

    `options` are those of tqdm, such as `total`, `initial`, `desc` and `unit`. With `leave=False`
    short work says nothing there.
    """
    if sys.stderr.isatty():
        usual: dict[str, Any] = {"dynamic_ncols": True, "mininterval": _TERMINAL_INTERVAL}
    else:
        usual = {"ncols": 0, "mininterval": _LOG_INTERVAL, "file": _Lines(sys.stderr)}
        if not options.get("leave", True):
            usual["delay"] = _LOG_INTERVAL
    return tqdm(iterable, **{**usual, **options})


class _Lines:
    """Makes lines of what is written to be overwritten."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        for move in _MOVES:
            text = text.replace(move, "")
        if line := text.strip():
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        self._stream.flush()
