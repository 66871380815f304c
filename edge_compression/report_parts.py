"""What the pages of `compress` have in common."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edge_compression.results import (
        CompressionReport,
        Sensitivity,
        SensitivityReport,
        TrainingReport,
    )
    from edge_report.page import Page

    Report = CompressionReport | SensitivityReport | TrainingReport
    Points = Sequence[tuple[int, float]]

Curve = tuple[list[float], list[float]]


def subject(report: Report, what: str) -> str:
    """Say what was judged, when and where."""
    host = report.host.get("name", "an unnamed host")
    return f"Skill {report.skill}, recipe {report.name}: {what}; {report.created} on {host}"


def command(name: str, report: Report, page: Path) -> str:
    """Return the command that made the page, with the recipe that `recipe_text` writes."""
    words = ["compress", name, f"{report.name}.yaml", "--output", str(page.parent)]
    return shlex.join(words)


def recipe_text(report: Report, recipe: Mapping[str, Any]) -> str:
    """Return the recipe as a file."""
    head = f"# {report.name}.yaml; paths in it start at its own folder.\n"
    return head + yaml.safe_dump(dict(recipe), sort_keys=False)


def add_origin(page: Page, report: Report, found: Mapping[str, object]) -> None:
    """Add what the metrics are, as far as the skill says, and what was used; `found` is first."""
    page.facts("What the metrics are", report.metric_descriptions)
    page.facts("Made from", {**found, **report.host, **report.tools})


def add_training_curves(
    page: Page, metric: str, turns: Mapping[str, tuple[Points, Points]]
) -> None:
    """Add pictures of a training, or of several, one after the other.

    Args:
        page: gets one picture of the losses and one of the metric, as far as there are any.
        metric: what the network was evaluated by.
        turns: name -> (step, mean loss), and (step, metric) on the validation split; their steps
            begin anew in each.
    """
    from edge_report.charts import curve_chart

    losses: dict[str, Curve] = {}
    evaluations: dict[str, Curve] = {}
    start = 0
    for name, (lost, evaluated) in turns.items():
        for lines, points in ((losses, lost), (evaluations, evaluated)):
            if len(points) > 1:
                lines[name] = [start + step for step, _ in points], [value for _, value in points]
        start += max([0, *(step for step, _ in [*lost, *evaluated])])
    if evaluations:
        page.picture(
            f"{metric} during training",
            curve_chart(evaluations, "step", metric),
            "On the validation split; the best network was kept.",
        )
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
    from edge_report.charts import curve_grid

    if curves:
        page.picture(
            f"{metric} after pruning one group",
            curve_grid(curves, "share of the group's filters pruned", metric),
            "On the validation split, without fine-tuning.",
        )


def exact(value: float) -> str:
    """Write a metric so that small differences can be seen."""
    return f"{value:.4f}" if math.isfinite(value) else "-"


def percent(share: float) -> str:
    """Write a share."""
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%" if math.isfinite(share) else "-"
