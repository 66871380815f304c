"""A policy with its own trainer and test routine, through train, run and evaluate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml

from edge_compression.checkpoint import read_checkpoint
from edge_compression.commands import main
from edge_runtime.bundle import load_bundle

if TYPE_CHECKING:
    from pathlib import Path


def recipe(folder: Path, **changes: Any) -> str:  # noqa: ANN401 - any section
    path = folder / "guess.yaml"
    values = {"skill": "guess", "name": "guess", "train": {"episodes": 60}, **changes}
    path.write_text(yaml.safe_dump(values))
    return str(path)


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = read_checkpoint(checkpoint)["state"]
    return state


def assert_same_weights(ours: Path, theirs: Path) -> None:
    expected = weights(theirs)
    assert all(torch.equal(value, expected[key]) for key, value in weights(ours).items())


@pytest.fixture(scope="session")
def guessing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `trained.pt`, trained in one sitting."""
    folder = tmp_path_factory.mktemp("guess")
    assert main(["train", recipe(folder), "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def bundle(guessing: Path) -> Path:
    path = recipe(guessing, checkpoint="trained.pt", fp16=True)
    assert main(["run", path, "--output", str(guessing / "out")]) == 0
    return guessing / "out" / "bundle"


def test_a_training_that_was_cut_off_goes_on_and_ends_with_the_same_weights(
    guessing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["train", recipe(tmp_path), "--output", str(tmp_path / "out")]
    for _ in range(2):
        monkeypatch.setenv("GUESS_EPISODES_OF_A_SITTING", "20")
        assert main(command) == 1
    monkeypatch.delenv("GUESS_EPISODES_OF_A_SITTING")
    assert main(command) == 0

    assert_same_weights(tmp_path / "out" / "trained.pt", guessing / "trained.pt")


def test_the_report_has_what_the_trainer_noted(guessing: Path) -> None:
    report = json.loads((guessing / "training.json").read_text())
    assert len(report["curve"]) == len(report["curves"]["success of trials"]) == 60
    assert report["variant"]["accuracy"]["success"] > 0.6
    assert report["tables"] == {"Episodes": [{"episodes": 60}]}
    page = (guessing / "training.html").read_text()
    assert page.count("data:image/svg") == 2
    assert "Episodes" in page


def test_another_training_does_not_go_on_from_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--output", str(tmp_path / "out")]
    assert main(["train", recipe(tmp_path, train={"episodes": 2}), *command]) == 0
    again = ["train", recipe(tmp_path, train={"episodes": 3}), *command]
    assert main(again) == 1
    assert "belongs to a training with other settings" in last_line(capsys)
    assert main([*again, "--restart"]) == 0


def test_training_starts_from_the_checkpoint_of_the_recipe(guessing: Path, tmp_path: Path) -> None:
    start = guessing / "trained.pt"
    path = recipe(tmp_path, checkpoint=str(start), train={"episodes": 0})

    assert main(["train", path, "--output", str(tmp_path / "out")]) == 0

    assert_same_weights(tmp_path / "out" / "trained.pt", start)


def test_a_checkpoint_beside_a_network_is_refused_where_the_skill_cannot_widen(
    guessing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(tmp_path, checkpoint=str(guessing / "trained.pt"), network={"widths": 3})
    assert main(["train", path, "--output", str(tmp_path / "out")]) == 1
    assert "'guess' cannot be widened: leave one of the two out" in last_line(capsys)


def test_a_checkpoint_that_training_would_write_over_is_refused(
    guessing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(tmp_path, checkpoint=str(guessing / "trained.pt"))
    assert main(["train", path, "--output", str(guessing)]) == 1
    assert "writes itself" in last_line(capsys)


def test_the_section_train_is_checked_by_the_skill(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", recipe(tmp_path, train={"episodes": 2, "steps": 4})]) == 1
    assert "unknown key 'train.steps'; allowed: episodes, seed" in last_line(capsys)
    assert main(["schema", "guess"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert "episodes" in schema["$defs"]["GuessTraining"]["properties"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"finetune": {"steps": 2, "batch_size": 2, "learning_rate": 0.1}}, "finetune needs"),
        ({"prune": {"macs": 0.5, "saliency": "taylor"}}, "saliency: taylor needs"),
    ],
)
def test_what_needs_batches_is_refused_where_there_are_none(
    changes: dict[str, Any],
    words: str,
    guessing: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = recipe(tmp_path, checkpoint=str(guessing / "trained.pt"), **changes)
    assert main(["run", path, "--output", str(tmp_path / "out")]) == 1
    assert f"{words} batches and a loss, which the skill 'guess' has not" in last_line(capsys)


def evaluate(bundle: Path, output: Path, *more: str) -> int:
    words = ["--bundle", str(bundle), "--output", str(output), "--walls", "0", "0.5"]
    return main(["evaluate", "guess", *words, *more])


def test_a_test_routine_makes_a_report(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(bundle, tmp_path / "out") == 0

    out = capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert report["verdict"] in out
    assert report["metrics"]["success"] > 0.5
    assert report["trials"] == 2
    assert [row["trial"] for row in report["tables"]["By wall"]] == ["wall 0", "wall 0.5"]
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert all(word in page for word in (report["verdict"], "share of right guesses", "By wall"))
    assert page.count("<img") == 1
    assert "<pre>compress evaluate guess --bundle " in page


def test_what_was_evaluated_is_not_evaluated_again(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = bundle.parent / "trials.log"
    assert evaluate(bundle, tmp_path / "out") == 0
    (tmp_path / "out" / "trials" / "wall 0.json").unlink()
    before = len(log.read_text().splitlines())
    assert evaluate(bundle, tmp_path / "out") == 0
    assert len(log.read_text().splitlines()) == before + 1

    assert evaluate(bundle, tmp_path / "out", "--runs", "5") == 1
    assert "belongs to an evaluation with other runs" in last_line(capsys)
    assert evaluate(bundle, tmp_path / "out", "--runs", "5", "--restart") == 0
    assert len(log.read_text().splitlines()) == before + 3


def test_the_routine_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["evaluate", "guess", "--help"])
    assert "--walls" in capsys.readouterr().out


def test_a_skill_without_a_routine_is_evaluated_on_held_out_data(
    compressed: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, recipe = compressed / "bundle", str(trained / "recipe.yaml")
    words = ["evaluate", "blob", "--output", str(tmp_path / "out"), "--recipe", recipe]
    assert main(words) == 1
    assert "add --bundle DIR" in last_line(capsys)

    assert main([*words, "--bundle", str(bundle)]) == 0

    report = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    known = [engine.accuracy["pixels"] for engine in load_bundle(bundle).manifest.engines.values()]
    assert report["metrics"]["pixels"] == pytest.approx(max(known), abs=0.02)
    assert report["verdict"].endswith("on the held-out data of recipe.yaml")


def test_a_skill_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "nobody", "--bundle", "x"]) == 1
    assert "unknown skill 'nobody'" in last_line(capsys)
