"""What the pages of `compress` have in common."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_compression.protocol import Metric
    from edge_compression.results import (
        CompressionReport,
        Sensitivity,
        SensitivityReport,
        TrainingReport,
    )
    from edge_report.page import Page

Curve = tuple[list[float], list[float]]


def add_origin(
    page: Page, report: CompressionReport | SensitivityReport, found: dict[str, object]
) -> None:
    """Add the section that says what was used; `found` stands first."""
    page.section("How it was made")
    source = report.source
    page.facts(
        {
            **found,
            "checkpoint": source.checkpoint_sha256,
            "recipe": source.recipe_sha256,
            "calibration": source.calibration,
        }
    )
    page.facts(flat(source.recipe))
    page.facts({**report.host, **report.tools})


def add_metrics(page: Page, report: CompressionReport | SensitivityReport | TrainingReport) -> None:
    """Explain the metrics."""
    page.facts({name: explained(metric) for name, metric in report.metrics.items()})


def explained(metric: Metric) -> str:
    """Say what a metric counts, in which unit, and which values are good."""
    unit = f" [{metric.unit}]" if metric.unit else ""
    return f"{metric.description}{unit}; {metric.better} is better"


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


def exact(value: float) -> str:
    """Write an accuracy so that small differences can be seen."""
    return f"{value:.4f}" if math.isfinite(value) else "-"


def percent(share: float) -> str:
    """Write a share."""
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%" if math.isfinite(share) else "-"


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, object]:
    """Name nested values by their keys, joined with dots."""
    found: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{prefix}{key}."))
        else:
            found[prefix + key] = value
    return found
