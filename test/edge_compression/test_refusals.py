"""Broken input: one line that names the value and the remedy, exit code 1, old bundle whole."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch

from edge_compression.checkpoint import read_checkpoint
from edge_compression.commands import main
from edge_runtime.bundle import load_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RECIPES: list[tuple[dict[str, Any], list[str]]] = [
    ({"prun": {}}, ["unknown key 'prun'", "prune"]),
    ({"prune": {"rate": 0.5, "off": "macs"}}, ["unknown key 'prune.off'", "multiple_of"]),
    ({"prune": {"rate": 1.5}}, ["prune.rate = 1.5", "less than 1"]),
    ({"prune": {"rate": 0.99}}, ["prune.rate = 0.99", "cannot be met", "loses 0.9"]),
    ({"prune": {"rate": 0.5, "of": "layers"}}, ["prune.of = 'layers'", "'macs'"]),
    ({"quantise": {"method": "median"}}, ["'median'", "'entropy'"]),
    ({"quantise": {"calibration_images": 64}}, ["calibration_images = 64", "has 16", "lower"]),
    ({"data": {"noize": 1}}, ["unknown key 'data.noize'", "noise"]),
    ({"skill": "lob"}, ["'lob'", "blob"]),
    ({"skill": None}, ["'skill' is missing"]),
    ({"checkpoint": "nowhere.pt"}, ["nowhere.pt", "No such file", "compress train"]),
    ({"checkpoint": "~no_such_user/a.pt"}, ["checkpoint = '~no_such_user/a.pt'", "without ~"]),
    ({"name": ".."}, ["name = '..'", "pattern"]),
    ({"checkpoint": None}, ["no checkpoint", "compress train"]),
    ({"finetune": {"steps": 9, "batch_size": 4, "learning_rate": 0}}, ["learning_rate = 0"]),
]


def _refused(output: Path, recipe: Path, capsys: pytest.CaptureFixture[str]) -> str:
    digest = load_bundle(output / "bundle").digest
    assert main(["run", str(recipe), "--output", str(output), "--restart"]) == 1
    written = capsys.readouterr().err
    assert "Traceback" not in written
    assert load_bundle(output / "bundle").digest == digest
    line = written.splitlines()[-1]
    assert line.startswith("compress: ")
    return line


@pytest.fixture
def output(compressed: Path, trained: Path, tmp_path: Path) -> Path:
    """A finished run's folder, and beside the recipe that a test writes there its checkpoint."""
    shutil.copytree(compressed, tmp_path / "out")
    shutil.copytree(trained / "training", tmp_path / "out" / "training")
    return tmp_path / "out"


@pytest.mark.parametrize(("changes", "words"), RECIPES, ids=lambda value: str(value)[:40])
def test_recipe_is_refused(
    changes: dict[str, Any],
    words: list[str],
    output: Path,
    write_recipe: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    few = {"finetune": {"steps": 2, "batch_size": 2, "learning_rate": 0.001}}

    line = _refused(output, write_recipe(output, **{**few, **changes}), capsys)

    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("text", "word"),
    [("skill: [", "not YAML"), ("- 1", "must be a mapping"), (None, "No such file")],
)
def test_file_is_no_recipe(
    text: str | None, word: str, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = output / "broken.yaml"
    if text is not None:
        recipe.write_text(text)

    assert word in _refused(output, recipe, capsys)


class _Code:
    """Runs when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self._mark),))


def _drop(state: dict[str, Any]) -> None:
    del state["head.bias"]
    state["tail.weight"] = torch.zeros(3)
    state["first.weight"] = torch.zeros(5, 1, 3, 3)


def _spoil(state: dict[str, Any]) -> None:
    state["second.weight"][1, 2] = torch.nan


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            _drop,
            [
                "missing: head.bias",
                "unexpected: tail.weight",
                "mis-shaped: first.weight (5, 1, 3, 3) instead of (8, 1, 3, 3)",
            ],
        ),
        (_spoil, ["NaN or infinite in second.weight"]),
    ],
)
def test_weights_are_refused(
    change: Callable[[dict[str, Any]], None],
    words: list[str],
    output: Path,
    write_recipe: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = read_checkpoint(output / "training" / "trained.pt")
    change(checkpoint["state"])
    torch.save(checkpoint, output / "changed.pt")

    line = _refused(output, write_recipe(output, checkpoint="changed.pt"), capsys)

    for word in words:
        assert word in line


def test_a_pickle_with_code_is_refused_and_not_run(
    output: Path, write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"network": {}, "state": _Code(output / "ran")}, output / "evil.pt")

    line = _refused(output, write_recipe(output, checkpoint="evil.pt"), capsys)

    assert "could run code" in line
    assert not (output / "ran").exists()


def test_a_truncated_checkpoint_is_refused(
    output: Path,
    write_recipe: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = (output / "training" / "trained.pt").read_bytes()
    (output / "half.pt").write_bytes(content[: len(content) // 2])

    line = _refused(output, write_recipe(output, checkpoint="half.pt"), capsys)

    assert "half.pt" in line
    assert "damaged" in line


def test_a_loss_that_is_not_finite_ends_the_training(
    tmp_path: Path, write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path, data={"noise": float("inf")})

    assert main(["train", "blob", "--recipe", str(recipe), "--output", str(tmp_path / "t")]) == 1

    line = capsys.readouterr().err.splitlines()[-1]
    assert "the loss is nan at step 1" in line
    assert not (tmp_path / "t" / "trained.pt").exists()


def test_folder_without_report_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path)]) == 1
    assert "compress run" in capsys.readouterr().err


def test_nothing_to_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / "lost.pt")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "lost.pt" in line
    assert "bundle's folder or a checkpoint's file" in line


def test_a_folder_that_cannot_be_written_is_refused_before_the_training(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    for folder, reason in [(file, "File exists"), ("/proc", "No such file")]:
        assert main(["run", str(trained / "recipe.yaml"), "--output", str(folder)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert f"--output {folder} cannot be written ({reason}" in line
        assert "give another folder" in line


@pytest.mark.parametrize("time", ["soon", "-1", "nan"])
def test_a_time_is_refused_with_what_is_allowed(
    time: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", "recipe.yaml", f"--save-every={time}"])
    assert f"--save-every: '{time}' is no time: give seconds" in capsys.readouterr().err


def test_a_skill_that_is_not_installed_is_said_before_its_recipe_is_missed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", "blobb"]) == 1
    assert "unknown skill 'blobb'" in capsys.readouterr().err
