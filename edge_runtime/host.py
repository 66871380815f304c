"""Which machine and which libraries made a number: printed beside every measurement."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

_GIB = 1024**3
_ARM_NUMBERS = ("implementer", "part", "variant")


def provenance(*packages: str) -> dict[str, Any]:
    """Return what every result says of how it was made: `created`, `host`, and `tools`.

    `tools`: the versions of these distributions.
    """
    return {"created": now(), "host": describe_host(), "tools": tool_versions(*packages)}


def now() -> str:
    """Return the time in UTC, ISO 8601, in whole seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def describe_host() -> dict[str, str]:
    """Return name, cpu, cores (usable by this process), memory, os and python of this machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB
    return {
        "name": platform.node(),
        "cpu": _cpu(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.1f} GiB",
        "os": _system(),
        "python": platform.python_version(),
    }


def tool_versions(*packages: str) -> dict[str, str]:
    """Return the installed versions of distributions; those not installed are left out."""
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # noqa: PERF203 - a few turns
            continue
    return versions


def resident_bytes() -> int:
    """Return the memory of this process that is in RAM now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cpu() -> str:
    # Boards name themselves in the device tree, PCs name their processor in cpuinfo, and other
    # Arm processors have numbers there.
    board = Path("/proc/device-tree/model")
    if board.is_file():
        return board.read_text(encoding="utf-8", errors="replace").rstrip("\0\n")
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    if facts.get("model name"):
        return facts["model name"]
    numbers = [f"{key} {facts[f'CPU {key}']}" for key in _ARM_NUMBERS if f"CPU {key}" in facts]
    return " ".join([platform.machine(), *numbers])


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    return f"{name}, {platform.release()}, {platform.machine()}"
