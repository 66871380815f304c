"""The line at the head of a report: what came of it, at what price, within which limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_compression import metrics

if TYPE_CHECKING:
    from edge_compression.protocol import Metric
    from edge_compression.results import (
        CompressionReport,
        GroupSensitivity,
        SensitivityReport,
        TrainingReport,
        Variant,
    )

_NOTHING = 0.005  # points; what is less is not shown
_LEAST = 5e-5  # of what has a unit


def bundled(report: CompressionReport) -> list[Variant]:
    """Return the variants whose graphs are in the bundle."""
    rejected = {failure.variant for failure in report.failures}
    return [
        variant
        for variant in report.variants
        if report.bundle_digest and not variant.is_original and variant.name not in rejected
    ]


def chosen(report: CompressionReport) -> Variant:
    """Return the variant that figures are quoted of.

    It is the smallest in the bundle that was timed and evaluated; without a bundle the smallest
    that was tried.
    """
    inside = bundled(report)
    timed = [variant for variant in inside if variant.latency_ms and variant.accuracy]
    return min(timed or inside or report.variants, key=lambda variant: variant.bytes)


def verdict(report: CompressionReport) -> str:
    """Say what ships of a compression, such as 'int8 ships: no loss of pixels; limit 1 point'."""
    first, ours = report.variants[0], chosen(report)
    if not bundled(report):
        ships = f"nothing ships, the smallest that was tried is {ours.name}"
    else:
        ships = f"{ours.name} ships{' by --force' if ours.name in report.forced else ''}"
    name, metric = report.primary_metric, report.metrics[report.primary_metric]
    loss = metrics.loss(metric, first.metric(name), ours.metric(name))
    price = [_loss(loss, name, metric), _speed(first.median / ours.median)]
    return f"{ships}: {', '.join(filter(None, price))}; {allowed(report)}"


def allowed(report: CompressionReport) -> str:
    """Say which limits the recipe sets, such as 'limit pixels at least 0.98x'."""
    limits = [
        f"{name} {word} {bound}"
        for name, limit in report.limits.items()
        for word, bound in (("at least", limit.at_least), ("at most", limit.at_most))
        if bound is not None
    ]
    return f"limit {', '.join(limits)}" if limits else "no limit"


def sensitivity_verdict(report: SensitivityReport) -> str:
    """Say which group of layers matters most, and which least."""
    groups = sorted(report.sensitivity.groups, key=greatest, reverse=True)
    if not groups:
        return "no group of layers can be pruned"
    most, least = groups[0], groups[-1]
    return (
        f"{most.group} matters most ({100 * greatest(most):.0f} % of what {report.primary_metric} "
        f"lost in all trials), {least.group} least ({100 * greatest(least):.0f} %)"
    )


def training_verdict(report: TrainingReport) -> str:
    """Say how good the network became, and what it took."""
    value = report.variant.accuracy[report.primary_metric]
    steps = report.curve[-1][0] if report.curve else 0
    return (
        f"{report.primary_metric} {value:.4f} on held-out data after {steps:,} steps in "
        f"{report.seconds / 60:.1f} minutes"
    )


def greatest(group: GroupSensitivity) -> float:
    """Return a group's sensitivity by the saliency by which it is largest."""
    return max(group.sensitivity.values(), default=0.0)


def points(share: float) -> str:
    """Write a difference between shares in points, which are hundredths."""
    count = f"{100 * share:.3g}"
    return f"{count} point{'' if count == '1' else 's'}"


def _loss(loss: float, name: str, metric: Metric) -> str:
    if math.isnan(loss):
        return f"{name} has no value"
    # What has no unit is a share.
    amount = f"{abs(loss):.3g} {metric.unit}" if metric.unit else points(abs(loss))
    if abs(loss) < (_LEAST if metric.unit else _NOTHING / 100):
        return f"no loss of {name}"
    if metric.better == "lower":
        return f"{amount} {'more' if loss > 0 else 'less'} {name}"
    return f"{amount} of {name} {'lost' if loss > 0 else 'gained'}"


def _speed(times: float) -> str:
    if math.isnan(times):
        return ""
    return f"{times:.1f} times as fast" if times >= 1 else f"{1 / times:.1f} times as slow"
