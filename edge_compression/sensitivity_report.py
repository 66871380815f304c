"""The page of `compress sensitivity`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_compression.report_parts import (
    add_sensitivity,
    begin_page,
    end_page,
    exact,
    percent,
    sensitivity_curves,
)
from edge_compression.verdict import greatest, sensitivity_verdict
from edge_report.charts import bars_chart
from edge_report.page import KeyFigure

if TYPE_CHECKING:
    from pathlib import Path

    from edge_compression.results import GroupSensitivity, SensitivityReport


def render_sensitivity(report: SensitivityReport, path: Path) -> None:
    """Write the page: what can be pruned at what cost, and the shares that follow from it."""
    groups = sorted(report.sensitivity.groups, key=greatest, reverse=True)
    page = begin_page(
        path,
        report,
        "sensitivity",
        report.source.recipe,
        judged="the network's layers, pruned one group at a time, on the validation split",
        verdict=sensitivity_verdict(report),
        figures=_key_figures(report, groups),
    )
    curves = sensitivity_curves(report.sensitivity)
    add_sensitivity(
        page, report.primary_metric, {group.group: curves[group.group] for group in groups}
    )
    pruned = dict.fromkeys(name for shares in report.allocations.values() for name in shares)
    if pruned:
        bars = {
            name: {rule: of[name] for rule, of in report.allocations.items() if name in of}
            for name in pruned
        }
        chart = bars_chart(bars, "share of the group's filters", digits=".2f")
        page.picture("What each allocation would prune", chart)
    page.table(
        "Groups, most sensitive first",
        [_row(group) for group in groups],
        "Sensitivity is the group's share of the errors of all trials; lost are MACs / parameters "
        "of the network with a share of the group's filters.",
    )
    page.table("Every trial", _trials(report, groups), folded=True)
    used = report.source
    source = {"checkpoint": used.checkpoint_sha256, "recipe": used.recipe_sha256}
    end_page(page, path, report, source)


def _key_figures(report: SensitivityReport, groups: list[GroupSensitivity]) -> list[KeyFigure]:
    trials = sum(len(group.trials) for group in groups)
    layers = sum(len(group.layers) for group in groups)
    ends = zip(("most sensitive", "least sensitive"), groups[:1] + groups[-1:], strict=False)
    return [
        KeyFigure(report.primary_metric, exact(report.sensitivity.accuracy), "before pruning"),
        KeyFigure("groups that can be pruned", len(groups), f"{layers} layers, {trials} trials"),
        *(
            KeyFigure(label, group.group, f"{percent(greatest(group))} of the errors of all trials")
            for label, group in ends
        ),
    ]


def _row(group: GroupSensitivity) -> dict[str, object]:
    """Return a row of the first table; what a rate costs is the same whatever ranks filters."""
    losses = {trial.rate: trial.lost for trial in group.trials}
    return {
        "group": group.group,
        "tied layers": ", ".join(group.layers[1:]),
        "filters": group.filters,
        **{
            f"sensitivity {saliency}": percent(share)
            for saliency, share in group.sensitivity.items()
        },
        **{
            f"lost at {100 * rate:.3g} %": " / ".join(
                percent(lost.get(kind, math.nan)) for kind in ("macs", "parameters")
            )
            for rate, lost in sorted(losses.items())
        },
    }


def _trials(report: SensitivityReport, groups: list[GroupSensitivity]) -> list[dict[str, object]]:
    return [
        {
            "group": group.group,
            "saliency": trial.saliency,
            "filters lost": percent(trial.rate),
            report.primary_metric: exact(trial.accuracy),
            "MACs lost": percent(trial.lost.get("macs", math.nan)),
            "parameters lost": percent(trial.lost.get("parameters", math.nan)),
        }
        for group in groups
        for trial in sorted(group.trials, key=lambda trial: (trial.saliency, trial.rate))
    ]
