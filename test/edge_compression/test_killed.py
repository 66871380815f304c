"""A run that is killed, and a second run into the same folder, leave whole what is there."""

from __future__ import annotations

import subprocess
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from edge_compression.commands import main
from edge_compression.job import prepared

if TYPE_CHECKING:
    import pytest

WRITER = Path(__file__).with_name("killed_writer.py")


def test_a_kill_at_any_moment_leaves_the_old_bundle_or_the_new_one(
    compressed: Path, tmp_path: Path
) -> None:
    command = [sys.executable, str(WRITER), str(compressed / "bundle"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    seen = [(name, len(list(lines))) for name, lines in groupby(done.stdout.splitlines())]
    (old, before), (new, after), end = seen
    assert (old, new) == ("blob_small", "newer")
    assert end == ("end", 1)
    assert before > 10
    assert after > 3


def test_a_folder_has_one_run_at_a_time(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = trained / "recipe.yaml"
    with prepared(recipe, tmp_path, 60.0):
        assert main(["run", str(recipe), "--output", str(tmp_path)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert f"--output {tmp_path} is in use by another run" in line
    with prepared(recipe, tmp_path, 60.0):
        assert list(tmp_path.iterdir()) == []
