"""`compress sensitivity`: which layers matter, and what the allocations make of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from edge_compression import allocation
from edge_compression.budgets import budgets
from edge_compression.checkpoint import load_checkpoint
from edge_compression.console import say
from edge_compression.dependency import prunable_groups
from edge_compression.protocol import SupervisedSkill
from edge_compression.recipe import PruneSettings, Saliency
from edge_compression.results import SensitivityReport
from edge_compression.saliency import SAMPLES, saliencies
from edge_compression.sensitivity import analyse
from edge_compression.sensitivity_report import render_sensitivity
from edge_runtime.bundle import Source
from edge_runtime.files import sha256, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from edge_compression.job import Job
    from edge_compression.results import Sensitivity

JSON_FILE = "sensitivity.json"
HTML_FILE = "sensitivity.html"
_USUAL = PruneSettings(macs=0.5)


def survey(job: Job) -> SensitivityReport:
    """Measure every group by every saliency; write `sensitivity.json` and `sensitivity.html`.

    Targets and trial rates are those of the recipe's `prune`, else half of the MACs and the usual
    rates. Every trial is kept as it ends: a run that was cut off goes on. No more training data is
    made than the saliencies look at. `taylor` is left out where the skill has no loss.

    Raises:
        SettingError: the recipe names no checkpoint, nothing can be pruned, or the targets are out
            of reach.
    """
    methods: tuple[Saliency, ...] = ("l1",)
    if isinstance(job.skill, SupervisedSkill):
        job = replace(job, data=job.skill.subset(job.data, SAMPLES))
        methods = get_args(Saliency)
    settings = job.recipe.recipe.prune or _USUAL
    network = load_checkpoint(job.checkpoint, job.skill)
    # Before the trials, because they are in vain where it cannot be met.
    keep = budgets(job.skill, network, job.data, settings)[-1]
    say("pruning every group alone")
    sensitivity = analyse(
        job.skill,
        network,
        job.data,
        settings.trial_rates,
        methods,
        evaluations=job.evaluations,
    )
    report = SensitivityReport(
        **job.heading(),
        sensitivity=sensitivity,
        allocations=_allocations(job, network, sensitivity, settings, methods, keep=keep),
        source=Source(
            checkpoint_sha256=sha256(job.checkpoint),
            recipe=job.recipe.source,
            recipe_sha256=job.recipe.sha256,
            calibration="none",
        ),
    )
    write_whole(job.output / JSON_FILE, report.model_dump_json(indent=2))
    render_sensitivity(report, job.output / HTML_FILE)
    return report


def rows(report: SensitivityReport) -> list[dict[str, object]]:
    """Return the table: a line for each group."""
    return [
        {
            "group": group.group,
            "tied layers": ", ".join(group.layers[1:]),
            "filters": group.filters,
            **{
                f"share of error, {name}": round(share, 3)
                for name, share in group.sensitivity.items()
            },
            **{
                f"prune, {name}": f"{100 * rates[group.group]:.0f} % lost"
                for name, rates in report.allocations.items()
            },
        }
        for group in report.sensitivity.groups
    ]


def _allocations(
    job: Job,
    network: nn.Module,
    sensitivity: Sensitivity,
    settings: PruneSettings,
    methods: Sequence[Saliency],
    *,
    keep: Mapping[str, int],
) -> dict[str, dict[str, float]]:
    groups = prunable_groups(job.skill, network, job.data)
    rules = {"uniform": [allocation.uniform(groups)]}
    for method in methods:
        scores = saliencies(method, job.skill, network, job.data, groups)
        rules[f"ranked, {method}"] = [allocation.ranked(groups, scores)]
        rules[f"sensitivity, {method}"] = allocation.by_sensitivity(sensitivity, method, list(keep))
    found = {}
    for name, of in rules.items():
        counts = allocation.solve(
            job.skill, network, job.data, groups, of, keep=keep, multiple_of=settings.multiple_of
        )
        found[name] = {group.name: counts[group.name] / group.filters for group in groups}
    return found
