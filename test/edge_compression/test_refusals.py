"""Broken input: one line that names the value and the remedy, exit code 1, old bundle whole."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from pydantic import BaseModel

from edge_compression.checkpoint import read_checkpoint, save_checkpoint
from edge_compression.commands import main
from edge_compression.job import compressible_skill
from edge_compression.recipe import load_recipe
from edge_runtime.bundle import load_bundle
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST_GRAPH = 14  # KiB
FEW = {"steps": 2, "batch_size": 2, "learning_rate": 0.001}
CALIBRATED = {"calibration_images": 4}
RECIPES: list[tuple[dict[str, Any], list[str]]] = [
    ({"prun": {}}, ["unknown key 'prun'", "prune"]),
    ({"prune": {"macs": 0.5, "rate": 0.5}}, ["unknown key 'prune.rate'", "multiple_of"]),
    ({"prune": {"macs": 1.5}}, ["prune.macs = 1.5", "less than 1"]),
    ({"prune": {"parameters": 0}}, ["prune.parameters = 0", "greater than 0"]),
    ({"prune": {"macs": 0.5, "trial_rates": [0.5, 1]}}, ["prune.trial_rates.1 = 1", "less than 1"]),
    ({"prune": {"macs": 0.5, "trial_rates": []}}, ["prune.trial_rates = []", "at least 1"]),
    ({"prune": {"macs": 0.999, "allocation": "uniform"}}, ["asks for too much", "loses 0.9"]),
    ({"prune": {"stages": 2}}, ["nothing is to be pruned", "give macs or parameters"]),
    ({"prune": {"macs": 0.5, "allocation": "fair"}}, ["prune.allocation = 'fair'", "'uniform'"]),
    ({"finetune": {**FEW, "patience": 3}}, ["patience counts evaluations", "give evaluate_every"]),
    ({"finetune": {**FEW, "before": 1}}, ["finetune.before", "give `steps` alone"]),
    ({"finetune": {**FEW, "between": 1}}, ["is refused", "finetune.between", "give prune.stages"]),
    (
        {"finetune": {**FEW, "between": 1}, "prune": {"macs": 0.5}},
        ["finetune.between counts the steps between stages"],
    ),
    ({"finetune": {**FEW, "distil": 1.5}}, ["finetune.distil = 1.5", "less than or equal to 1"]),
    ({"quantise": {"method": "median"}}, ["'median'", "'entropy'"]),
    ({"quantise": {"calibration_images": 64}}, ["calibration_images = 64", "has 16", "lower"]),
    ({"data": {"calibration": 0}}, ["calibration_images = 4, but the data has 0", "give more"]),
    (
        {"quantise": {**CALIBRATED, "keep_float": ["nose"]}},
        ["no tensor 'nose'", "correct the name"],
    ),
    ({"data": {"noize": 1}}, ["unknown key 'data.noize'", "noise"]),
    ({"skill": "lob"}, ["'lob'", "blob"]),
    ({"skill": None}, ["'skill' is missing"]),
    ({"checkpoint": "nowhere.pt"}, ["nowhere.pt", "No such file", "compress train"]),
    ({"checkpoint": "~no_such_user/a.pt"}, ["checkpoint = '~no_such_user/a.pt'", "without ~"]),
    ({"checkpoint": "pruned.pt"}, ["pruned.pt' is a file that a run", "give another --output"]),
    ({"checkpoint": "stages/2/tune_state.pt"}, ["is a file that a run", "copy the checkpoint"]),
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
    few = {"prune": None, "finetune": FEW, "limits": None, "quantise": {**CALIBRATED}}

    line = _refused(output, write_recipe(output, **{**few, **changes}), capsys)

    for word in words:
        assert word in line


@pytest.mark.parametrize(
    "changes", [{"checkpoint": "nowhere.pt"}, {"quantise": {"calibration_images": 17}}]
)
def test_what_is_refused_at_the_start_costs_nothing_of_what_was_trained(
    changes: dict[str, Any],
    output: Path,
    write_recipe: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained = sorted(path.name for path in (output / "stages").rglob("*"))

    _refused(output, write_recipe(output, **changes), capsys)

    assert sorted(path.name for path in (output / "stages").rglob("*")) == trained


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("skill: [", "not YAML"),
        ("- 1", "must be a mapping"),
        ("{skill: blob, name: a, data: {side: 8, side: 9}}", "the key 'side' is there twice"),
        ("{skill: blob, name: a, data: {? [side] : 8}}", "not YAML"),
        ("{skill: blob, name: a, data: {side: {1: 8, one: 9}}}", "let all keys be words"),
        ("{skill: blob, name: a, data: &all {side: *all}}", "let all keys be words"),
        (None, "No such file"),
    ],
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


def _exceed(state: dict[str, Any]) -> None:
    state["second.weight"] = state["second.weight"].double() + 1e300


def _say(state: dict[str, Any]) -> None:
    state["head.bias"] = "zero"


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
        (_spoil, ["NaN or infinite: second.weight; train again"]),
        (_exceed, ["NaN or infinite: second.weight; train again"]),
        (_say, ["mis-shaped: head.bias str instead of ("]),
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


@pytest.mark.parametrize("network", [{"first": -8}, {"first": 2**62}, {"depth": 3}])
def test_a_description_of_no_network_is_refused(
    network: dict[str, int],
    output: Path,
    write_recipe: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = read_checkpoint(output / "training" / "trained.pt")
    torch.save({**checkpoint, "network": network}, output / "changed.pt")

    line = _refused(output, write_recipe(output, checkpoint="changed.pt"), capsys)

    assert "changed.pt' describes no network of 'blob'" in line


def test_what_is_no_tensor_is_shown_as_such(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = read_checkpoint(output / "training" / "trained.pt")
    _say(checkpoint["state"])
    torch.save(checkpoint, output / "changed.pt")

    assert main(["inspect", str(output / "changed.pt")]) == 0
    assert "no tensor but str" in capsys.readouterr().out


def test_a_key_in_a_list_of_sections_is_named(output: Path) -> None:
    class Part(BaseModel, extra="forbid"):
        size: int = 1

    class Parts(BaseModel):
        parts: list[Part]

    path = output / "parts.yaml"
    path.write_text("{skill: blob, name: a, data: {parts: [{size: 2}, {sise: 3}]}}")
    with pytest.raises(SettingError, match=r"unknown key 'data.parts.1.sise'; allowed: size"):
        load_recipe(path).data(Parts)


def test_a_pickle_with_code_is_refused_and_not_run(
    output: Path, write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"network": {}, "state": _Code(output / "ran")}, output / "evil.pt")

    line = _refused(output, write_recipe(output, checkpoint="evil.pt"), capsys)

    assert "could run code" in line
    assert not (output / "ran").exists()


def test_a_network_that_may_not_be_pruned_is_explained_and_can_be_quantised(
    output: Path, write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = read_checkpoint(output / "training" / "trained.pt")
    torch.save({**checkpoint, "skill": "frozen_blob"}, output / "frozen.pt")
    changes = {"skill": "frozen_blob", "checkpoint": "frozen.pt", "quantise": {**CALIBRATED}}

    line = _refused(output, write_recipe(output, **changes), capsys)

    assert "no layer of 'frozen_blob' can be pruned" in line
    assert "leave `prune` out" in line
    recipe = write_recipe(output, **changes, prune=None, finetune=None, limits=None)
    assert main(["run", str(recipe), "--output", str(output), "--restart"]) == 0
    assert load_bundle(output / "bundle", "frozen_blob").manifest.engines.keys() >= {"cpu.onnx"}


def test_a_network_of_single_filters_is_explained(
    output: Path, write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    skill = compressible_skill("blob")
    thin = skill.build_network({"first": 1, "second": 1, "between": 1})
    save_checkpoint(output / "thin.pt", skill, thin)

    line = _refused(output, write_recipe(output, checkpoint="thin.pt"), capsys)

    assert "prune asks for too much: with 1 filter(s) left in every prunable layer" in line
    assert "loses 0.000 of the parameters" in line


def test_too_much_for_the_last_stage_is_refused_before_the_first(
    output: Path, write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    prune = {"macs": 0.999, "stages": 3}
    recipe = write_recipe(output, prune=prune, checkpoint="training/trained.pt")

    assert "prune asks for too much" in _refused(output, recipe, capsys)
    assert not (output / "stages").exists()

    assert main(["sensitivity", str(recipe), "--output", str(output / "survey")]) == 1
    assert "prune asks for too much" in capsys.readouterr().err.splitlines()[-1]
    assert not (output / "survey" / "trials.json").exists()


@pytest.mark.parametrize("kibibytes", [1, 8, 40])
def test_a_disk_that_is_full_costs_no_bundle(
    kibibytes: int, output: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load_bundle(output / "bundle")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A file that grows beyond it cannot be written any further, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * kibibytes, hard))
    try:
        code = main(["run", str(trained / "recipe.yaml"), "--output", str(output)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    written = capsys.readouterr().err
    assert code == 1
    assert "Traceback" not in written
    line = written.splitlines()[-1]
    assert line.startswith("compress: File too large: free space for --output")
    assert str(output) in line
    bundle = load_bundle(output / "bundle", "blob")
    # It may have been the report that there was no room for.
    assert (bundle.digest == before.digest) == (kibibytes < LARGEST_GRAPH)
    assert not [path for path in output.rglob(".*") if path.is_file()]


@pytest.mark.parametrize("content", [None, b"\x80\x02.", b""])
def test_a_damaged_checkpoint_is_refused(
    content: bytes | None,
    output: Path,
    write_recipe: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = (output / "training" / "trained.pt").read_bytes()
    (output / "half.pt").write_bytes(whole[: len(whole) // 2] if content is None else content)

    line = _refused(output, write_recipe(output, checkpoint="half.pt"), capsys)

    assert "half.pt" in line
    assert "damaged" in line


def test_a_loss_that_is_not_finite_ends_the_training(
    tmp_path: Path, write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path, checkpoint=None, data={"noise": float("inf")})

    assert main(["train", str(recipe), "--output", str(tmp_path / "t")]) == 1

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


def test_a_recipe_that_is_not_there_is_told_where_some_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", "pose"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("compress: recipe 'pose' cannot be read (No such file or directory): ")
    assert (Path(line.rpartition(" ")[2]) / "pose_train.yaml").is_file()
