"""`compress sensitivity`: which layers matter, here and on a Dask cluster."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import torch

from edge_compression import measure, workers
from edge_compression.checkpoint import load_checkpoint, save_checkpoint
from edge_compression.commands import main
from edge_compression.dependency import prunable_groups, without
from edge_compression.evaluation import Evaluations
from edge_compression.job import compressible_skill
from edge_compression.prefetching import Prefetcher
from edge_compression.recipe import TrainSettings
from edge_compression.results import SensitivityReport
from edge_compression.saliency import saliencies
from edge_compression.training import train
from edge_compression.training_state import weights_digest
from edge_worlds.arm.dataset import ImageSource, image_set
from edge_worlds.arm.model import DESK_ARM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_compression.protocol import Batch

    Write = Callable[..., Path]

RUNNER = Path(__file__).with_name("killed_run.py")
ALLOCATIONS = ["uniform", "ranked, l1", "sensitivity, l1", "ranked, taylor", "sensitivity, taylor"]
TARGET = 0.6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_recipe: Write) -> Path:
    """A recipe, and a checkpoint of a wide network: one filter of it is 0.5 to 1.5 % of all."""
    folder = tmp_path_factory.mktemp("wide")
    skill = compressible_skill("blob")
    torch.manual_seed(0)
    network = skill.build_network({"first": 48, "second": 64, "between": 64})
    settings = TrainSettings(steps=30, batch_size=8, learning_rate=0.01)
    train(skill, network, skill.data_model(), settings, folder / "state.pt")
    save_checkpoint(folder / "wide.pt", skill, network)
    prune = {"macs": TARGET, "trial_rates": [0.5, 0.8]}
    write_recipe(folder, checkpoint="wide.pt", prune=prune, train=None, finetune=None)
    return folder


@pytest.fixture(scope="module")
def surveyed(folder: Path) -> Path:
    """The output of `compress sensitivity` on this machine."""
    output = folder / "local"
    assert main(["sensitivity", str(folder / "recipe.yaml"), "--output", str(output)]) == 0
    return output


def _read(output: Path) -> SensitivityReport:
    return SensitivityReport.model_validate_json((output / "sensitivity.json").read_bytes())


def test_every_group_is_evaluated_by_every_saliency_and_the_shares_are_whole(
    surveyed: Path,
) -> None:
    report = _read(surveyed)

    groups = {group.group: group for group in report.sensitivity.groups}
    assert {name: (set(g.layers), g.filters) for name, g in groups.items()} == {
        "up": ({"up", "first"}, 48),
        "between": ({"between"}, 64),
        "second": ({"second"}, 64),
    }
    for method in ("l1", "taylor"):
        shares = [group.sensitivity[method] for group in groups.values()]
        assert sum(shares) == pytest.approx(1)
        assert min(shares) >= 0
    for group in groups.values():
        assert [(trial.saliency, trial.rate) for trial in group.trials] == [
            ("l1", 0.5),
            ("l1", 0.8),
            ("taylor", 0.5),
            ("taylor", 0.8),
        ]
        errors = [report.sensitivity.accuracy - trial.accuracy for trial in group.trials[:2]]
        positive = [max(0.0, error) for error in errors]
        assert (group.sensitivity["l1"] > 0) == any(positive)
    page = (surveyed / "sensitivity.html").read_text()
    assert page.count("data:image/svg") >= 2
    assert 'src="http' not in page


def test_every_allocation_meets_the_target(surveyed: Path, folder: Path) -> None:
    skill = compressible_skill("blob")
    network = load_checkpoint(folder / "wide.pt", skill)
    data = skill.data_model()
    filters = {group.name: group.filters for group in prunable_groups(skill, network, data)}
    full = measure.sizes(skill.models(network, data))["macs"]

    allocations = _read(surveyed).allocations

    def lost(counts: dict[str, int]) -> float:
        goes = {group: range(count) for group, count in counts.items()}
        smaller = without(skill, network, data, goes)
        return 1 - measure.sizes(skill.models(smaller, data))["macs"] / full

    assert sorted(allocations) == sorted(ALLOCATIONS)
    for rates in allocations.values():
        counts = {group: round(rate * filters[group]) for group, rate in rates.items()}
        assert lost(counts) >= TARGET
        # Half a point above it at most, or less by a whole filter of any group would miss it.
        assert lost(counts) < TARGET + 0.005 or all(
            lost({**counts, group: count - 1}) < TARGET for group, count in counts.items() if count
        )
    assert len({tuple(rates.values()) for rates in allocations.values()}) > 2


def test_the_table_has_a_line_for_each_group(
    surveyed: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # What is noted is not tried again: this takes no workers.
    words = ["sensitivity", str(folder / "recipe.yaml"), "--output", str(surveyed)]
    assert main(words) == 0

    head, _, *lines = capsys.readouterr().out.splitlines()
    assert all(f"prune, {name}" in head for name in ALLOCATIONS)
    assert [line.split()[0] for line in lines[:3]] == ["up", "between", "second"]
    assert lines[-1].endswith(str(surveyed / "sensitivity.html"))


def test_no_more_data_is_made_than_the_saliencies_look_at(
    folder: Path, surveyed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skill = type(compressible_skill("blob"))
    batches, asked = skill.batches, []

    def recorded(self: object, data: Any, *rest: int) -> Iterator[Batch]:  # noqa: ANN401
        asked.append(data.images)
        return batches(self, data, *rest)

    monkeypatch.setattr(skill, "batches", recorded)
    assert main(["sensitivity", str(folder / "recipe.yaml"), "--output", str(surveyed)]) == 0
    assert set(asked) == {32 * 8}


def test_trials_that_ended_before_a_kill_are_not_done_again(
    surveyed: Path, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    words = ["sensitivity", str(folder / "recipe.yaml"), "--output", str(output)]
    killed = subprocess.run(
        [sys.executable, str(RUNNER), *words, "--", "evaluations/*.json:5"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == 0, killed.stderr
    # The first one is the unpruned network's.
    done = sorted((output / "evaluations").glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    assert len(done) == 4
    assert not (output / "sensitivity.json").exists()
    # A metric that no trial has: it comes back if it is read.
    done[1].write_text('{"pixels": 0.123}')

    assert main(words) == 0

    trials = [t for group in _read(output).sensitivity.groups for t in group.trials]
    expected = [t for group in _read(surveyed).sensitivity.groups for t in group.trials]
    changed = [ours for ours, theirs in zip(trials, expected, strict=True) if ours != theirs]
    assert {trial.accuracy for trial in changed} == {0.123}


def test_evaluations_of_other_data_are_not_read(
    surveyed: Path, folder: Path, tmp_path: Path, write_recipe: Write
) -> None:
    shutil.copytree(surveyed, tmp_path / "out")
    checkpoint = str(folder / "wide.pt")
    # Half the noise: another validation split, and so other metrics.
    prune = {"macs": TARGET, "trial_rates": [0.5]}
    changes = {"prune": prune, "finetune": None, "data": {"noise": 0.1}}
    recipe = write_recipe(tmp_path, checkpoint=checkpoint, **changes)

    assert main(["sensitivity", str(recipe), "--output", str(tmp_path / "out")]) == 0

    theirs = {file.name for file in (surveyed / "evaluations").iterdir()}
    ours = {file.name for file in (tmp_path / "out" / "evaluations").iterdir()}
    assert theirs < ours
    assert _read(tmp_path / "out").sensitivity.accuracy != _read(surveyed).sensitivity.accuracy


def test_a_group_whose_loss_leaves_no_value_matters_most(
    trained: Path, tmp_path: Path, write_recipe: Write
) -> None:
    checkpoint = torch.load(trained / "training" / "trained.pt", weights_only=True)
    torch.save({**checkpoint, "skill": "precise_blob"}, tmp_path / "precise.pt")
    prune = {"macs": 0.3, "trial_rates": [0.9]}
    changes = {"skill": "precise_blob", "checkpoint": "precise.pt", "prune": prune}
    recipe = write_recipe(tmp_path, finetune=None, **changes)

    assert main(["sensitivity", str(recipe), "--output", str(tmp_path / "out")]) == 0

    groups = _read(tmp_path / "out").sensitivity.groups
    silent = [g for g in groups if math.isnan(g.trials[0].accuracy)]
    loud = [g for g in groups if g not in silent]
    assert silent
    assert loud
    assert min(g.sensitivity["l1"] for g in silent) > max(g.sensitivity["l1"] for g in loud)
    assert sum(g.sensitivity["l1"] for g in groups) == pytest.approx(1)


def test_a_trial_without_a_value_is_the_worst_also_of_negative_metrics(
    surveyed: Path, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(surveyed, tmp_path / "out")
    skill, data = (
        compressible_skill("blob"),
        compressible_skill("blob").data_model(noise=0.3, images=256),
    )
    network = load_checkpoint(folder / "wide.pt", skill)
    kept = Evaluations(skill, tmp_path / "out" / "evaluations")
    for file in (tmp_path / "out" / "evaluations").iterdir():
        file.write_text('{"pixels": -0.02}')
    groups = prunable_groups(skill, network, data)
    for method in ("l1", "taylor"):
        scores = saliencies(method, skill, network, data, groups)
        for name, value in (("up", math.nan), ("between", -0.05)):
            order = scores[name].argsort(stable=True).tolist()
            for rate in (0.5, 0.8):
                goes = {name: order[: round(rate * len(order))]}
                digest = weights_digest(without(skill, network, data, goes))
                kept.keep(kept.key(digest, data, "validation"), {"pixels": value})

    words = ["sensitivity", str(folder / "recipe.yaml"), "--output", str(tmp_path / "out")]
    assert main(words) == 0

    shares = {g.group: g.sensitivity["l1"] for g in _read(tmp_path / "out").sensitivity.groups}
    assert shares["up"] == max(shares.values())
    assert shares["between"] > shares["second"] == 0
    assert sum(shares.values()) == pytest.approx(1)


def test_a_smaller_input_counts_towards_the_target(
    folder: Path, tmp_path: Path, write_recipe: Write
) -> None:
    changes = {"prune": {"macs": 0.7, "trial_rates": [0.5]}, "finetune": None}
    # A quarter of the pixels: three quarters of the MACs are gone already.
    recipe = write_recipe(tmp_path, checkpoint=str(folder / "wide.pt"), data={"side": 8}, **changes)

    assert main(["sensitivity", str(recipe), "--output", str(tmp_path / "out")]) == 0

    allocations = _read(tmp_path / "out").allocations
    assert {rate for rates in allocations.values() for rate in rates.values()} == {0.0}


class Cluster(NamedTuple):
    """A scheduler in this process, and what has been done in its worker's."""

    address: str
    done: list[str]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A local cluster on loopback, on ports of its own choice."""
    distributed = pytest.importorskip("distributed", reason="Dask's `distributed` is not installed")
    done: list[str] = []

    class Log(distributed.SchedulerPlugin):  # type: ignore[misc, name-defined]
        def transition(self, key: object, _: str, finish: str, *__: object, **___: object) -> None:
            if finish == "memory":
                done.append(str(key))

    # Of one thread alone joblib makes no use.
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        (worker,) = cluster.workers.values()
        assert worker.pid != os.getpid()
        cluster.scheduler.add_plugin(Log())
        yield Cluster(cluster.scheduler_address, done)


def test_a_dask_cluster_finds_the_same(cluster: Cluster, surveyed: Path, folder: Path) -> None:
    output = folder / "dask"
    words = ["sensitivity", str(folder / "recipe.yaml"), "--output", str(output)]

    assert main([*words, "--dask", cluster.address]) == 0

    assert any("_metrics" in task for task in cluster.done), cluster.done
    ours, theirs = _read(output), _read(surveyed)
    assert ours.sensitivity == theirs.sensitivity
    assert ours.allocations == theirs.allocations


def test_training_data_is_rendered_by_the_cluster(cluster: Cluster, tmp_path: Path) -> None:
    images = []

    def stream() -> Iterator[Batch]:
        images.append(image_set(ImageSource(DESK_ARM, 32, 0), 2, cache))
        yield {"image": torch.zeros(1)}

    # A cache that only this process finds, as that of another machine: what is there by its number
    # in another process is something else.
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    cache = Path(f"/proc/self/fd/{descriptor}")
    with workers.workers(cluster.address), Prefetcher(stream(), 1) as batches:
        assert len(list(batches)) == 1
    os.close(descriptor)

    assert any("_render_shard" in task for task in cluster.done), cluster.done
    assert len(images[0]) == 2
    assert np.ptp(images[0].bgr(0)) > 0


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "", "carrier-pigeon://roof:1"])
def test_an_address_where_nobody_listens_is_one_line(
    address: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("distributed", reason="Dask's `distributed` is not installed")
    monkeypatch.setattr(workers, "_SECONDS", 0.5)

    words = ["sensitivity", str(folder / "recipe.yaml"), "--output", str(folder / "none")]
    assert main([*words, "--dask", address]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert f"--dask {address}: no scheduler answers" in line
    assert "dask scheduler" in line
    assert not (folder / "none").exists()
