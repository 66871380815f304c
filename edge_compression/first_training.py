"""`compress train`: a network from its first weights to a checkpoint."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import torch

from edge_compression.checkpoint import load_checkpoint, save_checkpoint
from edge_compression.console import say
from edge_compression.export import check_against_torch, export
from edge_compression.job import TOOLS, metric_descriptions
from edge_compression.results import TrainingReport
from edge_compression.training import train
from edge_compression.training_report import render_training
from edge_compression.variants import Candidate, measure_variants
from edge_runtime.errors import SettingError
from edge_runtime.files import sha256, write_whole
from edge_runtime.host import describe_host, tool_versions

if TYPE_CHECKING:
    from torch import nn

    from edge_compression.job import Job

CHECKPOINT = "trained.pt"
STATE = "train_state.pt"
JSON_FILE = "training.json"
HTML_FILE = "training.html"


def train_from_scratch(job: Job) -> TrainingReport:
    """Train, evaluate, and write `trained.pt`, `training.json` and `training.html` into the output.

    `train_state.pt` is there, too: a training that was cut off goes on from it.

    Raises:
        SuiteError: the recipe has no `train` section, or its data is refused.
    """
    settings = job.recipe.recipe.train
    if settings is None:
        message = f"recipe '{job.recipe.path}' has no section `train`: add steps, batch_size, ..."
        raise SettingError(message)
    torch.manual_seed(settings.seed)
    network = _first_network(job)
    data = job.skill.uncompressed(job.data)
    say(f"training for {settings.steps} steps")
    state = job.output / STATE
    log = train(job.skill, network, data, settings, state, save_every=job.save_every)
    checkpoint = job.output / CHECKPOINT
    save_checkpoint(checkpoint, job.skill, network)
    network = load_checkpoint(checkpoint, job.skill)

    say("measuring")
    inputs = job.skill.example_inputs(data)
    interface = job.skill.interface(data)
    graph = export(network, inputs, interface)
    check_against_torch(graph, network, inputs, interface)
    candidate = Candidate("trained fp32", CHECKPOINT, "fp32", graph, network, data)
    (variant,) = measure_variants(job.skill, [candidate])
    report = TrainingReport(
        skill=job.skill.name,
        name=job.recipe.recipe.name,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        headline=job.skill.headline,
        metric_descriptions=metric_descriptions(job.skill),
        variant=variant,
        curve=log.curve,
        judgements=log.judgements,
        seconds=log.seconds,
        checkpoint_sha256=sha256(checkpoint),
        recipe=job.recipe.source,
        recipe_sha256=job.recipe.sha256,
        tools=tool_versions(*TOOLS),
        host=describe_host(),
    )
    write_whole(job.output / JSON_FILE, report.model_dump_json(indent=2))
    render_training(report, job.output / HTML_FILE)
    return report


def _first_network(job: Job) -> nn.Module:
    try:
        return job.skill.build_network(job.recipe.recipe.network)
    except Exception as error:  # a skill's own, on values of which it knows nothing
        reason = " ".join(str(error).split()) or "no reason given"
        message = (
            f"recipe '{job.recipe.path}': `network` describes no network of "
            f"'{job.skill.name}': {reason}"
        )
        raise SettingError(message) from error
