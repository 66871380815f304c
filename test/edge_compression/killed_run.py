"""Starts a compression again and again in one folder, killed later on its way each time."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from fnmatch import fnmatch

from edge_compression import pipeline
from edge_compression.commands import main

assert pipeline  # torch is imported here, once for all children


def run_until(words: list[str], file: str, count: int) -> None:
    """Run the command, and die instead of putting that file in its place for the count-th time."""
    left = count

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event == "os.rename" and fnmatch(str(arguments[1]), f"*{file}"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    main(words)


def kill_at_each(words: list[str], moments: list[str]) -> None:
    for moment in moments:
        file, count = moment.split(":")
        child = os.fork()
        if child == 0:
            os.setsid()
            run_until(words, file, int(count))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        # The workers that it had started wait for more, for minutes.
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            sys.exit(f"{moment} was not reached: status {status}")


at = sys.argv.index("--")
kill_at_each(sys.argv[1:at], sys.argv[at + 1 :])
