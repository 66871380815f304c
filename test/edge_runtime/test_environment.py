"""Services and containers: no home, one that cannot be written, variables that are wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from node_harness import Client, NodeProcess, image

from edge_runtime.caching import cache_directory
from edge_runtime.errors import SettingError
from edge_runtime.folders import expand_user

REPOSITORY = Path(__file__).resolve().parents[2]
OF_THE_USER = ("HOME", "XDG_CACHE_HOME", "ROS_HOME", "ROS_LOG_DIR", "NUMBA_CACHE_DIR")
NOWHERE = "/dev/null/home"


@pytest.mark.ros
@pytest.mark.usefixtures("domain_id")
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ["HOME is not set"]),
        ({"HOME": NOWHERE}, [f"{NOWHERE}/.ros/log cannot be written"]),
        ({"ROS_LOG_DIR": "/proc/log"}, ["/proc/log cannot be written"]),
    ],
)
def test_a_node_serves_without_a_log_file_and_says_so(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], words: list[str]
) -> None:
    with monkeypatch.context() as patch:
        for name in OF_THE_USER:
            patch.delenv(name, raising=False)
        for name, value in given.items():
            patch.setenv(name, value)
        process = NodeProcess("--ros-args", "-p", f"bundle:={bundle_path}")
    with process as node, Client() as client:
        client.wait_for_node()
        assert client.ask(image(4, 4), 1).point.x == pytest.approx(100.0)
        assert node.end(signal.SIGTERM) == 0
    assert len(node.matching("no log file", *words, "ROS_LOG_DIR")) == 1
    assert len(node.lines) == 2, node.lines  # and what it serves


@pytest.mark.ros
@pytest.mark.parametrize("given", ["robot", "-1", "233", "10x", "010", "9" * 5000])
def test_a_domain_that_is_none_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", given)
    with NodeProcess() as node:
        assert node.wait() == 1
    assert len(node.lines) == 1
    assert f"ROS_DOMAIN_ID is '{given}': it must be a whole number from 0 to 232" in node.lines[0]


def test_compiled_functions_run_where_nothing_can_be_kept(tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="numba comes with the extra [slam]")
    shutil.copy(REPOSITORY / "compressed_slam" / "correlation_kernels.py", tmp_path)
    # What a read-only installation is to its owner, also to root.
    (tmp_path / "__pycache__").write_text("")
    program = (
        "import numpy as np, correlation_kernels as k; out = np.zeros((1, 49), 'f');"
        "one = np.ones((1, 1), 'f'); target = np.ones((9, 9, 1), 'f');"
        "k.look_up_maps(one, target, np.full((1, 2), 4, 'f'), 1.0, out);"
        "print(out.sum(), k.__file__)"
    )
    environment = {key: value for key, value in os.environ.items() if key not in OF_THE_USER}
    environment |= {"HOME": NOWHERE, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"49.0 {tmp_path / 'correlation_kernels.py'}\n"
    assert done.stderr.count("\n") == 1
    assert "NUMBA_CACHE_DIR" in done.stderr


def test_folders_of_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_directory() == Path("/somewhere/compressed_grasp")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/of/me")
    assert cache_directory() == Path("/of/me/.cache/compressed_grasp")
    assert expand_user("~/bundle") == Path("/of/me/bundle")
    with pytest.raises(SettingError, match=r"'~no-such-user/b': no home is known for '~no-such"):
        expand_user("~no-such-user/b")
    with pytest.raises(SettingError, match="is no path"):
        expand_user("a\0b")
    # As for a user id that the system does not know.
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(SettingError, match="XDG_CACHE_HOME"):
        cache_directory()
