"""A run that was killed ends as if it had not been, and what has ended is not done again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from edge_compression.checkpoint import read_checkpoint
from edge_compression.commands import main
from edge_compression.results import read_report

if TYPE_CHECKING:
    from collections.abc import Callable

RUNNER = Path(__file__).with_name("killed_run.py")
# During the tuning before all, the trials, the first stage's tuning, the second's, the training for
# eight bits, and between a bundle that is written and its report.
MOMENTS = [
    "stages/0/tune_state.pt:5",
    "evaluations/*.json:5",
    "stages/1/tune_state.pt:15",
    "stages/2/tune_state.pt:50",
    "aware_state.pt:8",
    "report.json:1",
]
STATES = [
    "stages/0/tune_state.pt",
    "stages/1/tune_state.pt",
    "stages/2/tune_state.pt",
    "aware_state.pt",
]


def _found(output: Path) -> dict[str, Any]:
    """What a run says that it has done, but for the time that it took."""
    report = read_report(output)
    stages = [stage.model_dump(exclude={"seconds"}) for stage in report.stages]
    return {"stages": stages, "aware": report.aware_curve, "layers": report.layers}


def _assert_same(output: Path, undisturbed: Path) -> None:
    ours, theirs = (read_checkpoint(folder / "pruned.pt") for folder in (output, undisturbed))
    assert ours["network"] == theirs["network"]
    assert all(torch.equal(ours["state"][key], value) for key, value in theirs["state"].items())
    for file in ("fp32.onnx", "fp16.onnx", "cpu.onnx", "arm.onnx", "trt.onnx"):
        first, again = (folder / "bundle" / file for folder in (undisturbed, output))
        assert first.read_bytes() == again.read_bytes(), file
    assert _found(output) == _found(undisturbed)


@pytest.fixture
def output(trained: Path, compressed: Path, tmp_path: Path) -> Path:
    """A copy of a finished run's folder, with the checkpoint beside it."""
    shutil.copytree(trained / "training", tmp_path / "training")
    shutil.copytree(compressed, tmp_path / "out")
    return tmp_path / "out"


def test_a_run_killed_at_every_stage_ends_as_an_undisturbed_one(
    trained: Path, compressed: Path, tmp_path: Path
) -> None:
    words = ["run", str(trained / "recipe.yaml"), "--output", str(tmp_path), "--save-every", "0"]
    killed = subprocess.run(
        [sys.executable, str(RUNNER), *words, "--", *MOMENTS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == 0, killed.stderr
    assert (tmp_path / "bundle").is_dir()

    assert main(words) == 0

    _assert_same(tmp_path, compressed)


def test_run_again_trains_nothing_again_and_gives_the_same(
    trained: Path, compressed: Path, output: Path
) -> None:
    written = [(output / state).stat().st_mtime_ns for state in STATES]

    assert main(["run", str(trained / "recipe.yaml"), "--output", str(output)]) == 0

    assert [(output / state).stat().st_mtime_ns for state in STATES] == written
    _assert_same(output, compressed)


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("prune", {"parameters": 0.5, "allocation": "uniform", "stages": 2}),
        ("finetune", {"steps": 2, "batch_size": 4, "learning_rate": 0.001}),
    ],
)
def test_another_recipe_does_not_go_on_from_these_stages(
    section: str,
    change: dict[str, Any],
    output: Path,
    write_recipe: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = write_recipe(output.parent, **{"quantise": None, section: change})

    assert main(["run", str(recipe), "--output", str(output)]) == 1

    line = capsys.readouterr().err.splitlines()[-1]
    assert "stages/1/tune_state.pt' belongs to a training with other" in line
    assert "--restart" in line


def test_another_calibration_does_not_go_on_from_its_training(
    output: Path, write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    aware = {"steps": 20, "batch_size": 16, "learning_rate": 0.001}
    quantise = {"calibration_images": 4, "method": "best", "aware": aware}
    recipe = write_recipe(output.parent, quantise=quantise)

    assert main(["run", str(recipe), "--output", str(output)]) == 1

    line = capsys.readouterr().err.splitlines()[-1]
    assert "aware_state.pt' belongs to a training with other calibration" in line
