"""Backgrounds that cannot be used: one line that names the file or the folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edge_compression.commands import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FEW = {"steps": 2, "batch_size": 2, "learning_rate": 0.001}


def _half(suffix: str) -> bytes:
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    content = cv2.imencode(suffix, picture)[1].tobytes()
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("wall.jpg", b"\xff\xd8\xff\xe0 no picture at all", "wall.jpg' is no readable picture"),
        ("wall.jpg", b"", "wall.jpg' is no readable picture; remove or replace it"),
        ("wall.jpg", _half(".jpg"), "wall.jpg' is no readable picture; remove or replace it"),
        ("wall.png", _half(".png"), "wall.png' is no readable picture; remove or replace it"),
        ("wall.txt", b"white", "photos' holds no photograph; give a folder with .png"),
    ],
)
def test_photographs_that_cannot_be_used_are_named(
    name: str,
    content: bytes,
    words: str,
    *,
    tmp_path: Path,
    write_recipe: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / name).write_bytes(content)
    data = {"backgrounds": "photos", "images": 1, "held_out": 1, "size": 128, "windows": [128]}
    none = {"quantise": None, "limits": None}
    recipe = write_recipe(tmp_path, skill="pose", checkpoint=None, data=data, train=FEW, **none)

    command = ["train", str(recipe), "--output", str(tmp_path / "out")]
    assert main(command) == 1

    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("compress: background")
    assert words in line
    assert str(tmp_path / "photos") in line
