"""Tuning: the best weights are kept, training ends when nothing gets better, a teacher is heard."""

from __future__ import annotations

import copy
import json
from itertools import count, islice
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import joblib
import psutil
import pytest
import torch

from edge_compression.checkpoint import load_checkpoint, read_checkpoint
from edge_compression.commands import main
from edge_compression.evaluation import evaluate_network
from edge_compression.job import compressible_skill
from edge_compression.prefetching import Prefetcher
from edge_compression.recipe import TrainSettings
from edge_compression.results import read_report
from edge_compression.training import train
from edge_compression.training_state import weights_digest
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import nn

    from edge_compression.protocol import Batch, SupervisedSkill
    from edge_compression.training_state import TrainingLog

GOOD_STEPS = 50
SETTINGS: dict[str, Any] = {
    "steps": 420,  # so many that only every second one is a point of the curve
    "batch_size": 8,
    "learning_rate": 0.02,
    "evaluate_every": 7,
    "patience": 4,
}


@pytest.fixture
def skill() -> SupervisedSkill:
    """Its labels are right for `GOOD_STEPS` steps."""
    return compressible_skill("spoiled_blob")


@pytest.fixture
def fresh(skill: SupervisedSkill) -> nn.Module:
    torch.manual_seed(0)
    return skill.build_network({})


def _train(
    skill: SupervisedSkill, fresh: nn.Module, state: Path, **changes: object
) -> tuple[nn.Module, TrainingLog]:
    network = copy.deepcopy(fresh)
    settings = TrainSettings.model_validate({**SETTINGS, **changes})
    log = train(skill, network, skill.data_model(), settings, state, save_every=0)
    return network, log


def test_the_best_weights_are_kept_and_training_ends_when_it_gets_worse(
    skill: SupervisedSkill, fresh: nn.Module, tmp_path: Path
) -> None:
    network, log = _train(skill, fresh, tmp_path / "state.pt")

    steps, values = zip(*log.evaluations, strict=True)
    best = values.index(max(values))
    assert steps[best] <= GOOD_STEPS + 7
    assert len(values) == best + 1 + 4
    assert log.curve[-1][0] == steps[-1] < 420
    assert values[-1] < 0.9 < values[best]
    assert evaluate_network(skill, network, skill.data_model())["pixels"] == values[best]
    kept = read_checkpoint(tmp_path / "state.pt")
    assert all(torch.equal(kept["best"][k], v) for k, v in network.state_dict().items())


def test_a_gpu_that_is_not_there_is_refused(
    skill: SupervisedSkill, fresh: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingError, match="torch finds no GPU: choose cpu"):
        _train(skill, fresh, tmp_path / "state.pt", device="cuda")


def test_without_evaluations_the_last_weights_stay(
    skill: SupervisedSkill, fresh: nn.Module, tmp_path: Path
) -> None:
    changes = {"evaluate_every": None, "patience": None, "steps": GOOD_STEPS + 40}

    network, log = _train(skill, fresh, tmp_path / "state.pt", **changes)

    assert log.evaluations == []
    assert log.curve[-1][0] == GOOD_STEPS + 40
    assert evaluate_network(skill, network, skill.data_model())["pixels"] < 0.9


@pytest.mark.parametrize("normalise", [False, True])
def test_best_weights_and_patience_outlive_interruptions(
    skill: SupervisedSkill,
    fresh: nn.Module,
    tmp_path: Path,
    normalise: bool,  # noqa: FBT001
) -> None:
    changes = {"normalise": normalise}
    undisturbed, expected = _train(skill, fresh, tmp_path / "undisturbed.pt", **changes)
    end = expected.evaluations[-1][0]

    state = tmp_path / "state.pt"
    for step in (20, 33, end - 10, end - 2):
        skill.interrupted_at = step  # type: ignore[attr-defined]
        with pytest.raises(InterruptedError):
            _train(skill, fresh, state, **changes)
    # Where it would have stopped early anyway.
    skill.interrupted_at = end + 1  # type: ignore[attr-defined]
    network, log = _train(skill, fresh, state, **changes)
    again, same = _train(skill, fresh, state, **changes)

    assert (log.curve, log.evaluations) == (expected.curve, expected.evaluations)
    assert same == log
    assert weights_digest(network) == weights_digest(undisturbed) == weights_digest(again)


def test_networks_of_volumes_are_trained(tmp_path: Path) -> None:
    class Volumes(type(compressible_skill("blob"))):  # type: ignore[misc]
        def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
            volume = batch["image"][:, :, None].expand(-1, -1, 3, -1, -1)
            mask = batch["mask"][:, :, None].expand(-1, -1, 3, -1, -1)
            return torch.nn.functional.binary_cross_entropy_with_logits(network(volume), mask)

        def unprunable(self, network: nn.Module) -> list[nn.Module]:  # noqa: ARG002
            return []

        def network_config(self, network: nn.Module) -> dict[str, Any]:  # noqa: ARG002
            return {}

    _, log = _train(
        Volumes(),
        torch.nn.Conv3d(1, 1, 3, padding=1),
        tmp_path / "state.pt",
        evaluate_every=None,
        patience=None,
    )

    assert log.curve[-1][1] < log.curve[0][1] / 2


def test_an_evaluation_without_a_value_is_worse_than_any(
    skill: SupervisedSkill, fresh: nn.Module, tmp_path: Path
) -> None:
    class Blind(type(skill)):  # type: ignore[misc]
        judged = 0

        def evaluate(self, *args: Any) -> dict[str, float]:  # noqa: ANN401
            self.judged += 1
            found: dict[str, float] = super().evaluate(*args)
            return {"pixels": float("nan")} if self.judged in {1, 3} else found

    _, log = _train(Blind(), fresh, tmp_path / "state.pt", steps=28)

    kept = read_checkpoint(tmp_path / "state.pt")["best"]
    undisturbed, _ = _train(skill, fresh, tmp_path / "undisturbed.pt", steps=28)
    values = [value for _, value in log.evaluations]
    assert [value != value for value in values] == [True, False, True, False]  # noqa: PLR0124
    assert values[3] > values[1]
    assert all(torch.equal(kept[key], value) for key, value in undisturbed.state_dict().items())


@pytest.mark.parametrize("share", [1.0, 0.0])
def test_tuning_follows_the_teacher_by_its_share(
    share: float, trained: Path, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    checkpoint = torch.load(trained / "training" / "trained.pt", weights_only=True)
    torch.save({"network": {}, "state": checkpoint["state"]}, tmp_path / "unpruned.pt")
    recipe = write_recipe(
        tmp_path,
        skill="mislabelled_blob",
        checkpoint="unpruned.pt",
        prune={"parameters": 0.4, "allocation": "uniform"},
        finetune={"steps": 80, "batch_size": 16, "learning_rate": 0.02, "distil": share},
        quantise=None,
        fp16=False,
        limits=None,
    )

    assert main(["run", str(recipe), "--output", str(tmp_path / "out")]) == 0

    unpruned, pruned = read_report(tmp_path / "out").variants
    assert unpruned.accuracy["pixels"] > 0.99
    # The labels say the opposite everywhere.
    assert pruned.accuracy["pixels"] > 0.97 if share else pruned.accuracy["pixels"] < 0.3
    identity = json.loads(read_checkpoint(tmp_path / "out/stages/1/tune_state.pt")["identity"])
    original = load_checkpoint(tmp_path / "unpruned.pt", compressible_skill("blob"))
    assert identity["teacher"] == (weights_digest(original) if share else None)


def test_samples_that_have_a_number_are_answered_once_as_far_as_memory_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Recurring(type(compressible_skill("blob"))):  # type: ignore[misc]
        """Three batches, again and again."""

        numbered = False
        asked = 0

        def batches(self, *args: Any) -> Iterator[Batch]:  # noqa: ANN401
            *whose, start = args
            three = list(islice(super().batches(*whose, 0), 3))
            for step in count(start):
                batch = three[step % 3]
                numbers = torch.arange(len(batch["image"])) + 100 * (step % 3)
                yield {**batch, "sample": numbers} if self.numbered else batch

        def teacher_outputs(self, teacher: nn.Module, batch: Batch) -> torch.Tensor:
            self.asked += 1
            outputs: torch.Tensor = super().teacher_outputs(teacher, batch)
            return outputs

    settings = TrainSettings(steps=9, batch_size=8, learning_rate=0.02)
    skill, asked, found = Recurring(), [], []
    for numbered, free in ((True, 2**30), (True, 0), (False, 2**30)):
        monkeypatch.setattr(
            psutil, "virtual_memory", lambda free=free: SimpleNamespace(available=free)
        )
        torch.manual_seed(0)
        skill.numbered, skill.asked = numbered, 0
        network, teacher = skill.build_network({}), skill.build_network({})
        state = tmp_path / f"{numbered} {free}"
        data = skill.data_model()
        train(skill, network, data, settings, state, teacher=teacher, share=0.7)
        asked.append(skill.asked)
        found.append(weights_digest(network))

    assert asked == [3, 9, 9]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("skill", ["blob", "mislabelled_blob"])
def test_a_later_stage_learns_from_the_best_network_before_it(
    skill: str, trained: Path, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    torch.manual_seed(0)
    fresh = compressible_skill("blob").build_network({})
    good = torch.load(trained / "training" / "trained.pt", weights_only=True)["state"]
    # The first stage makes a fresh network better, and what has learnt from right labels worse.
    state = fresh.state_dict() if skill == "blob" else good
    torch.save({"network": {}, "state": state}, tmp_path / "unpruned.pt")
    recipe = write_recipe(
        tmp_path,
        skill=skill,
        checkpoint="unpruned.pt",
        prune={"parameters": 0.4, "allocation": "uniform", "stages": 2},
        finetune={"steps": 60, "batch_size": 16, "learning_rate": 0.02, "distil": 0.1},
        quantise=None,
        fp16=False,
        limits=None,
    )

    assert main(["run", str(recipe), "--output", str(tmp_path / "out")]) == 0

    stages = [tmp_path / "out" / "stages" / str(number) / "tune_state.pt" for number in (1, 2)]
    taught_by = [json.loads(read_checkpoint(stage)["identity"])["teacher"] for stage in stages]
    unpruned = weights_digest(load_checkpoint(tmp_path / "unpruned.pt", compressible_skill("blob")))
    assert taught_by[0] == unpruned
    assert (taught_by[1] == unpruned) == (skill == "mislabelled_blob")


def test_tuned_weights_are_mixed_with_those_from_before(
    trained: Path, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    checkpoint = trained / "training" / "trained.pt"

    def tuned(share: float) -> dict[str, torch.Tensor]:
        recipe = write_recipe(
            tmp_path,
            checkpoint=str(checkpoint),
            prune=None,
            finetune={
                "steps": 20,
                "batch_size": 16,
                "learning_rate": 0.02,
                "interpolation": share,
            },
            quantise=None,
            fp16=False,
            limits=None,
        )
        # Of one training: what share is kept is decided after it.
        assert main(["run", str(recipe), "--output", str(tmp_path / "out")]) == 0
        return read_checkpoint(tmp_path / "out" / "pruned.pt")["state"]

    whole, some = tuned(1.0), tuned(0.25)

    for name, before in read_checkpoint(checkpoint)["state"].items():
        assert not torch.equal(whole[name], before)
        if before.is_floating_point():
            torch.testing.assert_close(some[name], 0.75 * before + 0.25 * whole[name])


def test_what_the_first_batch_is_made_by_runs_where_the_caller_says() -> None:
    found = []

    def stream() -> Iterator[Batch]:
        found.append(joblib.parallel.get_active_backend()[1])
        while True:
            yield {"image": torch.zeros(1)}

    with joblib.parallel_config("threading", n_jobs=3), Prefetcher(stream(), 6) as batches:
        assert len(list(batches)) == 6
    assert found == [3]
