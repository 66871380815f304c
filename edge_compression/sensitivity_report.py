"""The page of `compress sensitivity`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_compression import metrics
from edge_compression.report_parts import (
    add_metrics,
    add_origin,
    exact,
    percent,
    sensitivity_curves,
)
from edge_compression.verdict import greatest, sensitivity_verdict

if TYPE_CHECKING:
    from pathlib import Path

    from edge_compression.results import GroupSensitivity, SensitivityReport


def render_sensitivity(report: SensitivityReport, path: Path) -> None:
    """Write the page: what can be pruned at what cost, and the shares that follow from it."""
    from edge_report.charts import bars_chart
    from edge_report.page import Page
    from edge_report.small_multiples import share_curves_chart

    groups = sorted(report.sensitivity.groups, key=greatest, reverse=True)
    page = Page(f"{report.name}: sensitivity", f"skill {report.skill}, {report.created}")
    page.text(f"{sensitivity_verdict(report)}.")
    tiles: dict[str, object] = {
        f"{report.primary_metric}, validation": exact(report.sensitivity.accuracy),
        "groups that can be pruned": len(groups),
        "trials": sum(len(group.trials) for group in groups),
    }
    if groups:
        tiles["most sensitive"] = groups[0].group
    page.tiles(tiles)
    add_metrics(page, report)
    if groups:
        page.section("Groups")
        page.table(
            "Most sensitive first; sensitivity is the group's share of the errors of all trials; "
            "lost are MACs / parameters of the network with a share of the group's filters",
            [_row(group) for group in groups],
        )
        curves = sensitivity_curves(report.sensitivity)
        page.figure(
            "On the validation split after pruning one group, without tuning",
            share_curves_chart(
                {group.group: curves[group.group] for group in groups},
                "share of the group's filters pruned",
                report.primary_metric,
            ),
        )
        page.table("Every trial", _trials(report, groups), folded=True)
    names = dict.fromkeys(group.group for group in groups)
    names.update(dict.fromkeys(name for shares in report.allocations.values() for name in shares))
    if names:
        page.section("What to prune")
        page.figure(
            "By allocation, the share of each group's filters that goes",
            bars_chart(
                {
                    name: {
                        allocation: shares[name]
                        for allocation, shares in report.allocations.items()
                        if name in shares
                    }
                    for name in names
                },
                "share of the group's filters",
                digits=".2f",
            ),
        )
    add_origin(page, report, {})
    page.write(path)


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
            "lost": exact(
                metrics.loss(
                    report.metrics[report.primary_metric],
                    report.sensitivity.accuracy,
                    trial.accuracy,
                )
            ),
            "MACs lost": percent(trial.lost.get("macs", math.nan)),
            "parameters lost": percent(trial.lost.get("parameters", math.nan)),
        }
        for group in groups
        for trial in sorted(group.trials, key=lambda trial: (trial.saliency, trial.rate))
    ]
