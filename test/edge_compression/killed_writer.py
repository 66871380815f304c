"""Replaces a bundle again and again, killed one file system call later each time."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from edge_runtime.bundle import load_bundle, write_bundle

CALLS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}


def write_until(target: Path, fatal: int) -> None:
    """Die instead of the call of that number, counted from 0."""
    old = load_bundle(target)
    newer = old.manifest.model_copy(update={"name": "newer"})
    files = {name: (target / name).read_bytes() for name in old.manifest.files}
    calls = 0

    def count(event: str, _: tuple[object, ...]) -> None:
        nonlocal calls
        if event not in CALLS:
            return
        if calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        calls += 1

    sys.addaudithook(count)
    write_bundle(target, newer, files)


def main(bundle: Path, folder: Path) -> None:
    """Print the name of the bundle that was found after each kill, and "end" at last."""
    target = folder / "bundle"
    for fatal in range(1000):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(bundle, target)
        child = os.fork()
        if child == 0:
            write_until(target, fatal)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            sys.stdout.write("end\n")
            return
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            sys.exit(f"the writer failed by itself: status {status}")
        sys.stdout.write(f"{load_bundle(target, 'blob').manifest.name}\n")


main(Path(sys.argv[1]), Path(sys.argv[2]))
