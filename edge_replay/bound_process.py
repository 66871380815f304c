"""Becomes another program, which the kernel ends when the process that started it is gone.

Run as a file of its own: `python -I -S bound_process.py PARENT PROGRAM ARGUMENT...`, PARENT the
process id of whoever starts it. A child cannot be bound from outside, and code between fork and
exec in a process with threads, as that of a replay, may hang.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _become(parent: int, program: str, arguments: list[str]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have ended before the kernel was told.
    if os.getppid() != parent:
        return
    try:
        os.execv(program, [program, *arguments])  # noqa: S606 (a program of this machine)
    except OSError as error:
        sys.exit(f"{program} cannot be run ({error.strerror})")


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
