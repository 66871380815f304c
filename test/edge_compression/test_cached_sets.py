"""`compress cache`, and that no more is rendered than what is used."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("mujoco", reason="mujoco comes with the extra [train]")

from edge_compression.commands import main
from edge_worlds.arm.dataset import ImageSource, image_set
from edge_worlds.arm.model import DESK_ARM

if TYPE_CHECKING:
    from pathlib import Path


def test_the_cost_is_said_before_the_cache_shows_and_clears_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = tmp_path / "compressed_grasp"
    plan = place / "tensorrt" / "device.timing"
    plan.parent.mkdir(parents=True)
    plan.write_bytes(b"not rendered")
    assert main(["cache"]) == 0
    assert capsys.readouterr().out == f"no rendered images in {place}\n"

    source = ImageSource(DESK_ARM, 64, 5)
    image_set(source, 1)
    told = capsys.readouterr().err
    assert "rendering 250 images of desk_arm, 64 px, seed 5: about 1 min and 0.00 of " in told
    assert told.index("GB free in ") < told.index("image/s")
    image_set(source, 1)
    assert capsys.readouterr().err == ""

    # What was rendered before sets said what they are.
    shutil.copytree(place / "arm" / source.digest() / "00000", place / "arm" / "0ld" / "00000")
    (place / "arm" / "0ld" / "00000" / "shard.json").unlink()
    assert main(["cache"]) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert "desk_arm, 64 px, seed 5" in lines[source.digest()]
    assert " 250 " in lines[source.digest()]
    assert " 3 " in lines["0ld"]
    assert f"0.01 GB in {place}; `compress cache --clear`" in out

    assert main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out.startswith("cleared 2 sets, 0.01 GB")
    assert not list(place.glob("arm/*"))
    assert plan.is_file()
