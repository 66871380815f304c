"""The installed node as a process of its own: found, started, watched, ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from edge_replay import bound_process
from edge_replay.results import Usage
from edge_runtime.errors import SettingError, SuiteError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self

_END_SIGNALS = ((signal.SIGINT, 10.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0))
_SAMPLE_SECONDS = 0.25
_MEBIBYTE = 1024**2
_LOG_LINE = re.compile(r"\[(?P<level>[A-Z]+)\] \[[\d.]+\] \[[^\]]*\]: (?P<text>.*)")


class NodeError(SuiteError):
    """The node process did not start, did not configure, or died."""


def find_executable(name: str) -> Path:
    """Find an installed node program as pip, colcon or a sourced workspace leave it.

    Raises:
        SettingError: it is nowhere; lists the places.
    """
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    # Not resolved: the interpreter of a virtual environment is a link out of its bin/.
    beside = Path(sys.executable).parent
    places = [beside / name, *(p for prefix in prefixes for p in prefix.glob(f"lib/*/{name}"))]
    for place in places:
        if os.access(place, os.X_OK):
            return place
    message = (
        f"node program {name!r} is not installed: neither in {beside} nor in lib/*/ of "
        f"AMENT_PREFIX_PATH ({os.environ.get('AMENT_PREFIX_PATH') or 'not set'}); install the "
        "package with pip or colcon, or source its workspace"
    )
    raise SettingError(message)


class NodeProcess:
    """A running node; a context manager that always ends it.

    It gets a process group of its own: Ctrl-C reaches this process, which then ends the node. Where
    this process ends in any other way, the kernel ends the node.
    """

    def __init__(self, program: Path, arguments: Sequence[str], log: Path) -> None:
        """Start the program; what it prints goes to the file `log`."""
        self.log = log
        starter = (sys.executable, "-I", "-S", bound_process.__file__)
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 (an installed program, not a shell)
                [*starter, str(os.getpid()), str(program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        """Give the process itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the node."""
        self.end()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def check(self) -> None:
        """Make sure that it lives.

        Raises:
            NodeError: it ended; the message carries the last line that it printed.
        """
        code = self._process.poll()
        if code is not None:
            how = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
            message = f"the node {how}: {self.last_message()} (all its output: {self.log})"
            raise NodeError(message)

    def errors(self) -> list[str]:
        """Return the texts that it logged as ERROR or FATAL."""
        found = (_LOG_LINE.match(line) for line in self._lines())
        return [m["text"] for m in found if m and m["level"] in {"ERROR", "FATAL"}]

    def last_message(self) -> str:
        """Return the last error logged, else the last line printed."""
        lines = self._lines()
        return (self.errors() or lines or ["it printed nothing"])[-1]

    def end(self) -> int:
        """Ask it to end as Ctrl-C does, insist if need be, and return its exit code."""
        for number, patience in _END_SIGNALS:
            if self._process.poll() is None:
                self._process.send_signal(number)
                try:
                    self._process.wait(patience)
                except subprocess.TimeoutExpired:
                    continue
        return self._process.wait()

    def _lines(self) -> list[str]:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return [line.strip() for line in text.splitlines() if line.strip()]


class UsageMeter:
    """Measures CPU and memory of a process between `with` and the block's end."""

    def __init__(self, pid: int) -> None:
        """Prepare to watch the process and its threads."""
        self._process = psutil.Process(pid)
        self._rss: list[float] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._cpu_before, self._began = self._cpu_seconds(), time.monotonic()
        self._rss.append(self._process.memory_info().rss / _MEBIBYTE)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self._done.set()
        self._thread.join()

    def usage(self) -> Usage:
        """Return what was taken since the beginning."""
        self._rss.append(self._process.memory_info().rss / _MEBIBYTE)
        busy = self._cpu_seconds() - self._cpu_before
        return Usage(
            cpu_percent=100.0 * busy / (time.monotonic() - self._began),
            rss_first_mib=self._rss[0],
            rss_last_mib=self._rss[-1],
            rss_max_mib=max(self._rss),
        )

    def _cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system

    def _watch(self) -> None:
        with suppress(psutil.NoSuchProcess):
            while not self._done.wait(_SAMPLE_SECONDS):
                self._rss.append(self._process.memory_info().rss / _MEBIBYTE)
