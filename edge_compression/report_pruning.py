"""The part of the page of `compress run` that says what was pruned, where and when."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_compression.report_parts import exact, percent, sensitivity_curves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_compression.report_parts import Curve
    from edge_compression.results import CompressionReport, Stage
    from edge_report.page import Page


def add_stages(page: Page, report: CompressionReport) -> None:
    """Add what every turn of pruning and tuning did to the network."""
    from edge_report.small_multiples import share_curves_chart
    from edge_report.tuning import Turn, tuning_chart

    if not report.stages:
        return
    page.section("Stages")
    stages = {f"stage {number}": stage for number, stage in _numbered(report)}
    page.table(
        f"{report.primary_metric} on the validation split; losses are of the network as it came",
        [
            {
                "stage": name,
                "MACs lost": percent(stage.lost.get("macs", math.nan)),
                "parameters lost": percent(stage.lost.get("parameters", math.nan)),
                "after pruning": exact(stage.pruned_accuracy),
                "after tuning": exact(stage.accuracy),
                "tuning [min]": f"{stage.seconds / 60:.1f}",
            }
            for name, stage in stages.items()
        ],
    )
    if any(stage.curve or stage.evaluations for stage in report.stages):
        page.figure(
            "Tuning; each stage begins with what pruning left, a ring marks its best",
            tuning_chart(
                [
                    Turn(name, stage.curve, [(0, stage.pruned_accuracy), *stage.evaluations])
                    for name, stage in stages.items()
                ],
                report.primary_metric,
            ),
        )
    rates = _rates(report)
    if rates:
        page.table(
            "By stage, the groups' sensitivity by saliency, and the share of their filters that "
            "they lost",
            rates,
        )
    curves = _curves(report)
    if curves:
        page.figure(
            "On the validation split after pruning one group, without tuning",
            share_curves_chart(
                curves, "share of the group's filters pruned", report.primary_metric
            ),
        )


def _numbered(report: CompressionReport) -> Iterator[tuple[int, Stage]]:
    """The stages by their numbers; one that only tuned has the number 0."""
    return enumerate(report.stages, 1 if report.stages and report.stages[0].rates else 0)


def _rates(report: CompressionReport) -> list[dict[str, object]]:
    rows: dict[str, dict[str, object]] = {}
    for number, stage in _numbered(report):
        for group in stage.sensitivity.groups if stage.sensitivity else []:
            row = rows.setdefault(group.group, {"group": group.group})
            for saliency, share in group.sensitivity.items():
                row[f"{number}: {saliency}"] = percent(share)
        for name, rate in stage.rates.items():
            rows.setdefault(name, {"group": name})[f"{number}: lost"] = percent(rate)
    return list(rows.values())


def _curves(report: CompressionReport) -> dict[str, dict[str, Curve]]:
    curves: dict[str, dict[str, Curve]] = {}
    for number, stage in _numbered(report):
        measured = sensitivity_curves(stage.sensitivity) if stage.sensitivity else {}
        for group, lines in measured.items():
            for saliency, curve in lines.items():
                curves.setdefault(group, {})[f"stage {number}, {saliency}"] = curve
    return curves


def add_layers(page: Page, report: CompressionReport) -> None:
    """Add what is left of every layer."""
    from edge_report.remains import remains_chart

    if all(layer.before == layer.after for layer in report.layers):
        return
    page.section("Layers")
    page.figure(
        "Filters of every layer",
        remains_chart({x.layer: (x.before, x.after) for x in report.layers}, "filters"),
    )
    page.table(
        "Every layer; one that is tied to another keeps the same filters",
        [
            {
                "layer": layer.layer,
                "before": layer.before,
                "after": layer.after,
                "lost": percent(1 - layer.after / layer.before),
                "tied to": layer.tied_to,
            }
            for layer in report.layers
        ],
        folded=True,
    )
