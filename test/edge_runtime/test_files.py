from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from edge_runtime.files import whole_directory, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_with_the_users_permissions(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_whole(path, b"old")
    write_whole(path, "n\u00e4chster")
    assert path.read_bytes() == "n\u00e4chster".encode()
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert names(tmp_path) == ["report.json"]


def test_a_directory_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with whole_directory(target) as directory:
        (directory / "a").write_text("old")

    def half() -> None:
        with whole_directory(target) as directory:
            (directory / "a").write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        half()
    assert (target / "a").read_text() == "old"
    with whole_directory(target) as directory:
        (directory / "sub").mkdir()
        (directory / "sub" / "b").write_text("new")
    assert names(target) == ["sub"]
    assert names(tmp_path) == ["bundle"]


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_a_killed_writer_left_behind_goes_with_the_next_success(
    tmp_path: Path, kind: str
) -> None:
    target = tmp_path / "report"
    write(kind, target, "old")
    with started_writer(kind, target) as writer:
        writer.kill()
    assert written(target) == "old"
    assert len(names(tmp_path)) > 1
    write(kind, target, "new")
    assert written(target) == "new"
    assert names(tmp_path) == ["report"]


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_writer_that_lives_is_not_cleaned_away(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "report"
    with started_writer(kind, target) as writer:
        write(kind, target, "first")
        assert written(target) == "first"
        writer.communicate("go on")
    assert writer.returncode == 0
    assert written(target) == "last"
    assert names(tmp_path) == ["report"]


def test_a_directory_is_replaced_where_the_file_system_cannot_exchange_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No flag of the call: the system refuses it as it does there.
    monkeypatch.setattr("edge_runtime.files._RENAME_EXCHANGE", 1 << 30)
    target = tmp_path / "report"
    write("directory", target, "old")
    write("directory", target, "new")
    assert written(target) == "new"
    assert names(tmp_path) == ["report"]


def write(kind: str, target: Path, text: str) -> None:
    if kind == "file":
        write_whole(target, text)
        return
    with whole_directory(target) as directory:
        (directory / "a").write_text(text)


def written(target: Path) -> str:
    return (target / "a" if target.is_dir() else target).read_text()


@contextmanager
def started_writer(kind: str, target: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has written all but not put it in place, and waits for its input."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, kind, target],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        yield process


WRITER = """
import sys
from pathlib import Path
from edge_runtime.files import whole_directory, write_whole

kind, target = sys.argv[1], Path(sys.argv[2])

def wait():
    print("written", flush=True)
    sys.stdin.read()

def wait_before_renaming(event, arguments):
    if event == "os.rename" and Path(arguments[1]) == target:
        wait()

if kind == "file":
    sys.addaudithook(wait_before_renaming)
    write_whole(target, "last")
else:
    with whole_directory(target) as directory:
        (directory / "a").write_text("last")
        wait()
"""
