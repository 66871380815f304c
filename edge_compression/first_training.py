"""`compress train`: from first or given weights to a checkpoint."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from edge_compression import own_training
from edge_compression.checkpoint import load_checkpoint, save_checkpoint
from edge_compression.console import say
from edge_compression.export import check_against_torch, export
from edge_compression.job import EVALUATIONS, supervised
from edge_compression.protocol import OwnTrainer, TrainedNetwork, WidenableSkill
from edge_compression.results import TrainingReport
from edge_compression.training import train
from edge_compression.training_report import render_training
from edge_compression.variants import Candidate, GraphFile, measure_variants, path_of
from edge_runtime.errors import SettingError
from edge_runtime.files import sha256, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import nn

    from edge_compression.job import Job
    from edge_compression.recipe import TrainSettings
    from edge_compression.results import Evaluations

CHECKPOINT = "trained.pt"
STATE = "train_state.pt"
JSON_FILE = "training.json"
HTML_FILE = "training.html"


def train_network(job: Job, *, restart: bool = False) -> TrainingReport:
    """Train, evaluate, and write `trained.pt`, `training.json` and `training.html` into the output.

    What a training that was cut off goes on from is there, too: `train_state.pt`, or the folder
    `train_state` of a skill that has its own trainer. With `restart` it is forgotten.

    Raises:
        SuiteError: the recipe has no `train` section, or its checkpoint or data is refused.
    """
    if job.train is None:
        message = f"recipe '{job.recipe.path}' has no section `train`: add steps, batch_size, ..."
        raise SettingError(message)
    torch.manual_seed(getattr(job.train, "seed", 0))
    network = _first_network(job)
    if restart:
        forget(job.output)
    trained, evaluations = _train(job, network)
    checkpoint = job.output / CHECKPOINT
    save_checkpoint(checkpoint, job.skill, trained.network)
    network = load_checkpoint(checkpoint, job.skill)

    say("measuring")
    data = job.skill.uncompressed(job.data)
    models = job.skill.models(network, data)
    graphs = {}
    for name, model in models.items():
        graph = export(model)
        check_against_torch(graph, model)
        graphs[name] = GraphFile(path_of(name, models, CHECKPOINT), "fp32", graph)
    candidate = Candidate("trained fp32", "fp32", graphs, models, data)
    (variant,) = measure_variants(job.evaluations, [candidate])
    curves = {name: list(curve) for name, curve in trained.curves.items()}
    report = TrainingReport(
        **job.heading(),
        variant=variant,
        curve=curves.pop("loss", []),
        curves=curves,
        evaluations=evaluations,
        seconds=trained.seconds,
        tables={caption: [*map(dict, rows)] for caption, rows in trained.tables.items()},
        checkpoint_sha256=sha256(checkpoint),
        recipe=job.recipe.source,
        recipe_sha256=job.recipe.sha256,
    )
    write_whole(job.output / JSON_FILE, report.model_dump_json(indent=2))
    render_training(report, job.output / HTML_FILE, trained.pictures)
    return report


def forget(output: Path) -> None:
    """Remove what an earlier training in this folder left to go on from."""
    (output / STATE).unlink(missing_ok=True)
    shutil.rmtree(output / EVALUATIONS, ignore_errors=True)
    own_training.forget(output)


def _train(job: Job, network: nn.Module) -> tuple[TrainedNetwork, Evaluations]:
    if isinstance(job.skill, OwnTrainer):
        say("training")
        return own_training.train_by_skill(job, job.skill, network), []
    settings: TrainSettings = job.train
    say(f"training for {settings.steps} steps")
    log = train(
        supervised(job.skill, "train"),
        network,
        job.skill.uncompressed(job.data),
        settings,
        job.output / STATE,
        save_every=job.save_every,
    )
    return TrainedNetwork(network, {"loss": log.curve}, log.seconds), log.evaluations


def _first_network(job: Job) -> nn.Module:
    recipe = job.recipe.recipe
    start = recipe.checkpoint
    if start is None:
        return _described(job, job.skill.build_network)
    written = {(job.output / name).resolve() for name in (CHECKPOINT, STATE)}
    if start.resolve() in written:
        message = (
            f"checkpoint '{start}' is a file that `compress train` with --output {job.output} "
            "writes itself: give another --output, or leave `checkpoint` out"
        )
        raise SettingError(message)
    network = load_checkpoint(start, job.skill)
    if not recipe.network:
        return network
    if not isinstance(job.skill, WidenableSkill):
        message = (
            f"recipe '{job.recipe.path}' has both `checkpoint` and `network`, and networks of "
            f"'{job.skill.name}' cannot be widened: leave one of the two out"
        )
        raise SettingError(message)
    return _described(job, partial(job.skill.widened, network))


def _described(job: Job, make: Callable[[Mapping[str, Any]], nn.Module]) -> nn.Module:
    """Make the network of the recipe's `network`."""
    try:
        return make(job.recipe.recipe.network)
    except Exception as error:  # a skill's own, on values of which it knows nothing
        reason = " ".join(str(error).split()) or "no reason given"
        message = (
            f"recipe '{job.recipe.path}': `network` describes no network of "
            f"'{job.skill.name}': {reason}"
        )
        raise SettingError(message) from error
