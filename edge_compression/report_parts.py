"""What the pages of `compress` have in common."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Any

import yaml

from edge_report.charts import curve_chart, curve_grid
from edge_report.page import KeyFigure, Page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edge_compression.protocol import Metric
    from edge_compression.results import (
        CompressionReport,
        Sensitivity,
        SensitivityReport,
        TrainingReport,
    )

    Report = CompressionReport | SensitivityReport | TrainingReport
    Points = Sequence[tuple[int, float]]

Curve = tuple[list[float], list[float]]


def begin_page(
    path: Path,
    report: Report,
    command: str,
    recipe: Mapping[str, Any],
    *,
    judged: str,
    verdict: str,
    figures: Sequence[KeyFigure],
) -> Page:
    """Return a page that has its head and says how to repeat what it reports.

    Args:
        path: where the page will be written.
        report: what it is about.
        command: of `compress`, such as "run".
        recipe: that the command read.
        judged: what was judged on which data.
        verdict: one sentence without a full stop.
        figures: that it rests on.
    """
    file = f"{report.name}.yaml"
    host = report.host.get("name", "an unnamed host")
    text = yaml.safe_dump(dict(recipe), sort_keys=False)
    return Page(
        title=f"{report.name}: compress {command}",
        subject=f"Skill {report.skill}: {judged}; {report.created} on {host}",
        verdict=f"{verdict}.",
        figures=figures,
        command=shlex.join(["compress", command, file, "--output", str(path.parent)]),
        recipe=f"# {file}; paths in it start at its own folder.\n{text}",
    )


def end_page(page: Page, path: Path, report: Report, source: Mapping[str, object]) -> None:
    """Add what the metrics are and what was used; write the page."""
    page.facts("What the metrics are", {n: explained(m) for n, m in report.metrics.items()})
    page.facts("Made from", {**source, **report.host, **report.tools})
    page.write(path)


def explained(metric: Metric) -> str:
    """Say what a metric counts, in which unit, and which values are good."""
    unit = f" [{metric.unit}]" if metric.unit else ""
    return f"{metric.description}{unit}; {metric.better} is better"


def add_training_curves(
    page: Page, metric: str, turns: Mapping[str, tuple[Points, Points]]
) -> None:
    """Add pictures of a training, or of several, one after the other.

    Args:
        page: gets one picture of the metric and one of the losses, as far as there are any.
        metric: what the network was evaluated by.
        turns: name -> (step, mean loss), and (step, metric) on the validation split; their steps
            begin anew in each.
    """
    losses: dict[str, Curve] = {}
    evaluations: dict[str, Curve] = {}
    start = 0
    for name, (lost, evaluated) in turns.items():
        for lines, points in ((losses, lost), (evaluations, evaluated)):
            if len(points) > 1:
                lines[name] = [start + step for step, _ in points], [value for _, value in points]
        start += max([0, *(step for step, _ in [*lost, *evaluated])])
    if evaluations:
        note = "On the validation split; the best network was kept."
        chart = curve_chart(evaluations, "step", metric)
        page.picture(f"{metric} during training", chart, note)
    if losses:
        positive = all(value > 0 for _, values in losses.values() for value in values)
        chart = curve_chart(losses, "step", "mean loss", logarithmic=positive)
        page.picture("Loss during training", chart)


def sensitivity_curves(sensitivity: Sensitivity) -> dict[str, dict[str, Curve]]:
    """Return group -> saliency -> (shares pruned, accuracies), from the unpruned network on."""
    curves: dict[str, dict[str, Curve]] = {}
    for group in sensitivity.groups:
        lines = curves.setdefault(group.group, {})
        for trial in sorted(group.trials, key=lambda trial: trial.rate):
            x, y = lines.setdefault(trial.saliency, ([0.0], [sensitivity.accuracy]))
            x.append(trial.rate)
            y.append(trial.accuracy)
    return curves


def add_sensitivity(page: Page, metric: str, curves: Mapping[str, Mapping[str, Curve]]) -> None:
    """Add the picture of what pruning each group alone does to the metric."""
    if curves:
        chart = curve_grid(curves, "share of the group's filters pruned", metric)
        note = "On the validation split, without fine-tuning."
        page.picture(f"{metric} after pruning one group", chart, note)


def exact(value: float) -> str:
    """Write a metric so that small differences can be seen."""
    return f"{value:.4f}" if math.isfinite(value) else "-"


def percent(share: float) -> str:
    """Write a share."""
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%" if math.isfinite(share) else "-"
