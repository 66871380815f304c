"""The part of the page of `compress run` that says what was pruned, where and when."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_compression.report_parts import (
    add_sensitivity,
    add_training_curves,
    exact,
    percent,
    sensitivity_curves,
)
from edge_report.charts import bars_chart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_compression.report_parts import Curve
    from edge_compression.results import CompressionReport, Stage
    from edge_report.page import Page


def add_stages(page: Page, report: CompressionReport) -> None:
    """Add what every turn of pruning and fine-tuning did to the network."""
    stages = {f"stage {number}": stage for number, stage in _numbered(report)}
    turns = {
        name: (stage.curve, [(0, stage.pruned_accuracy), *stage.evaluations])
        for name, stage in stages.items()
        if stage.curve or stage.evaluations
    }
    if report.aware_curve:
        turns["simulated quantisation"] = (report.aware_curve, [])
    add_training_curves(page, report.primary_metric, turns)
    add_sensitivity(page, report.primary_metric, _curves(report))
    page.table(
        f"Stages: {report.primary_metric} on the validation split",
        [
            {
                "stage": name,
                "MACs lost": percent(stage.lost.get("macs", math.nan)),
                "parameters lost": percent(stage.lost.get("parameters", math.nan)),
                "after pruning": exact(stage.pruned_accuracy),
                "after fine-tuning": exact(stage.accuracy),
                "fine-tuning [min]": f"{stage.seconds / 60:.1f}",
            }
            for name, stage in stages.items()
        ],
        "Lost of the network as it came.",
    )
    page.table(
        "Groups by stage",
        _rates(report),
        "Their sensitivity by saliency, and the share of their filters that they lost.",
        folded=True,
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
    if all(layer.before == layer.after for layer in report.layers):
        return
    left = {layer.layer: {"left": layer.after / layer.before} for layer in report.layers}
    chart = bars_chart(left, "share of the layer's filters that is left", digits=".2f")
    page.picture("What is left of every layer", chart)
    page.table(
        "Layers",
        [
            {
                "layer": layer.layer,
                "filters before": layer.before,
                "after": layer.after,
                "lost": percent(1 - layer.after / layer.before),
                "tied to": layer.tied_to,
            }
            for layer in report.layers
        ],
        "One that is tied to another keeps the same filters.",
        folded=True,
    )
