"""Shared memory of processes that were killed: removed; of living ones: left."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from edge_runtime.shared_memory import free_abandoned_segments

if TYPE_CHECKING:
    from pathlib import Path


def test_only_segments_of_dead_processes_go(tmp_path: Path) -> None:
    for number, name in enumerate(("fastdds_", "fastrtps_", "fastdds_", "fastdds_port_")):
        segment = tmp_path / f"{name}{number:016x}"
        segment.write_bytes(b"memory")
        lock = tmp_path / f"{segment.name}_el"
        lock.touch()
        os.utime(lock, (0, 0))
    young = tmp_path / f"fastdds_{9:016x}_el"
    young.touch()
    other = tmp_path / "fastdds_mine_el"
    other.touch()
    os.utime(other, (0, 0))
    with (tmp_path / f"fastdds_{2:016x}_el").open("ab") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        assert free_abandoned_segments(tmp_path) == 2
        assert free_abandoned_segments(tmp_path) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert {f"fastdds_{2:016x}", f"fastdds_{2:016x}_el", young.name, other.name} <= names
    assert not {f"fastdds_{0:016x}", f"fastdds_{0:016x}_el", f"fastrtps_{1:016x}"} & names
    assert free_abandoned_segments(tmp_path / "absent") == 0
