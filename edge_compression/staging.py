"""Pruning and tuning in turns, from the checkpoint's network to the small one."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

from edge_compression import measure, metrics
from edge_compression.budgets import budgets
from edge_compression.console import say
from edge_compression.job import supervised
from edge_compression.pruning import prune
from edge_compression.results import Stage
from edge_compression.training import train
from edge_compression.training_state import TrainingLog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from edge_compression.job import Job

STAGES = "stages"
STATE = "tune_state.pt"


def shrink(job: Job, original: nn.Module) -> tuple[nn.Module, list[Stage]]:
    """Return the network that the recipe asks for, and how it came about.

    With n stages, each one takes the same share of what the one before left. Stage 0 only tunes: it
    is there where the recipe has steps `before` the pruning, or no `prune` at all. Where the recipe
    distils, the teacher of a stage is the best so far of the original and the stages before. What a
    run that was cut off has done already is taken from the folders `stages/0`, `stages/1` ... of
    its output.

    Raises:
        SettingError: the recipe cannot be met, or the folders belong to another run.
    """
    recipe = job.recipe.recipe
    full = measure.sizes(job.skill.models(original, job.skill.uncompressed(job.data)))
    network, stages = copy.deepcopy(original), []
    keep = []
    if recipe.prune is not None:
        # Before the first stage: what the last one cannot meet is known now.
        keep = budgets(job.skill, original, job.data, recipe.prune)
    tuning = recipe.finetune
    begins_with_tuning = tuning is not None and (recipe.prune is None or tuning.before is not None)
    distils = tuning is not None and bool(tuning.distil)
    teacher = original
    metric, name = metrics.primary(job.skill), job.skill.primary_metric
    taught = job.evaluations.network(original, job.data)[name] if distils else math.nan
    for number in range(0 if begins_with_tuning else 1, len(keep) + 1):
        folder = job.output / STAGES / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        sensitivity, rates = None, dict[str, float]()
        if number and recipe.prune is not None:
            say(f"pruning, stage {number} of {len(keep)}")
            pruned = prune(
                job.skill,
                network,
                job.data,
                recipe.prune,
                keep=keep[number - 1],
                evaluations=job.evaluations,
            )
            network, sensitivity, rates = pruned.network, pruned.sensitivity, pruned.rates
        before = after = job.evaluations.network(network, job.data)[name]
        log = TrainingLog()
        if tuning is not None:
            settings = tuning
            if number < len(keep):
                steps = (tuning.between if number else tuning.before) or tuning.steps
                settings = tuning.model_copy(update={"steps": steps})
            say(f"tuning for {settings.steps} steps")
            begun = copy.deepcopy(network.state_dict())
            log = train(
                supervised(job.skill, "finetune"),
                network,
                job.data,
                settings,
                folder / STATE,
                teacher=teacher if distils else None,
                share=settings.distil,
                save_every=job.save_every,
            )
            if settings.interpolation < 1:
                _interpolate(network, begun, settings.interpolation)
            after = job.evaluations.network(network, job.data)[name]
            if metrics.score(metric, after) > metrics.score(metric, taught):
                teacher, taught = network, after
        sizes = measure.sizes(job.skill.models(network, job.data))
        stages.append(
            Stage(
                sensitivity=sensitivity,
                rates=rates,
                lost={size: 1 - sizes[size] / full[size] for size in full},
                pruned_accuracy=before,
                accuracy=after,
                curve=log.curve,
                evaluations=log.evaluations,
                seconds=log.seconds,
            )
        )
    return network, stages


def _interpolate(network: nn.Module, begun: Mapping[str, Tensor], share: float) -> None:
    """Leave `share` of the network's weights, the rest being those that it began with."""
    mixed = {
        name: begun[name].lerp(tensor, share) if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }
    network.load_state_dict(mixed)
