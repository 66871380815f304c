from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edge_runtime.files import whole_directory, write_whole

if TYPE_CHECKING:
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


def test_a_killed_process_leaves_the_old_directory(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with whole_directory(target) as directory:
        (directory / "a").write_text("old")
    program = (
        "import os, sys; from pathlib import Path; from edge_runtime.files import whole_directory\n"
        "with whole_directory(Path(sys.argv[1])) as d: (d / 'a').write_text('half'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program, target], check=False).returncode == 9
    assert (target / "a").read_text() == "old"
