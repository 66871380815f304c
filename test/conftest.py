"""What every test shares: a ROS graph of its own, one thread per library, the recordings."""

from __future__ import annotations

import os
import random
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import edge_runtime  # noqa: F401 - for tests that import onnxruntime themselves
from edge_runtime.shared_memory import free_abandoned_segments

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
# Below 102 the ports of a domain stay clear of Linux's ephemeral ones.
DOMAIN_IDS = range(1, 102)

# Before NumPy, torch or rclpy is imported, here or in a process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
if os.environ.get("ROS_DISTRO") == "humble":
    os.environ["ROS_LOCALHOST_ONLY"] = "1"  # the older name of the same


@contextmanager
def _own_domain() -> Iterator[int]:
    """Hold a domain id that no other test, of this run or of another on this machine, holds."""
    for candidate in random.sample(DOMAIN_IDS, len(DOMAIN_IDS)):
        # An abstract address is a lock that leaves no file and ends with the process.
        with socket.socket(socket.AF_UNIX) as lock:
            try:
                lock.bind(f"\0compressed_grasp_domain_{candidate}")
            except OSError:
                continue
            yield candidate
            return
    pytest.fail(f"all ROS domain ids of {DOMAIN_IDS} are taken by other test runs")


@pytest.fixture(scope="session", autouse=True)
def _session_domain() -> Iterator[None]:
    """Keep tests that ask for no domain id off the user's own ROS graph."""
    with _own_domain() as identifier:
        os.environ["ROS_DOMAIN_ID"] = str(identifier)
        yield
    free_abandoned_segments()  # of nodes that tests have killed


@pytest.fixture
def domain_id(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A ROS domain that is this test's alone; ROS_DOMAIN_ID is set to it."""
    with _own_domain() as identifier:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(identifier))
        yield identifier


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings and photos that lies beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no recordings at {SHARED_DATA}")
    return SHARED_DATA
