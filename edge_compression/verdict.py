"""The line at the head of a report: what came of it, at what price, within which limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_compression.results import UNPRUNED

if TYPE_CHECKING:
    from edge_compression.results import (
        CompressionReport,
        GroupSensitivity,
        SensitivityReport,
        TrainingReport,
        Variant,
    )

_NOTHING = 0.005  # points; what is less is not shown


def bundled(report: CompressionReport) -> list[Variant]:
    """Return the variants whose graphs are in the bundle."""
    rejected = {failure.variant for failure in report.failures}
    return [
        variant
        for variant in report.variants
        if report.bundle_digest and variant.file != UNPRUNED and variant.name not in rejected
    ]


def chosen(report: CompressionReport) -> Variant:
    """Return the variant that figures are quoted of.

    It is the smallest in the bundle that was timed; without a bundle the smallest that was tried.
    """
    inside = bundled(report)
    timed = [variant for variant in inside if variant.latency_ms]
    return min(timed or inside or report.variants, key=lambda variant: variant.bytes)


def verdict(report: CompressionReport) -> str:
    """Say what ships of a compression, such as 'int8 ships: no loss of pixels; limit 1 point'."""
    first, ours = report.variants[0], chosen(report)
    if not bundled(report):
        ships = f"nothing ships, the smallest that was tried is {ours.name}"
    else:
        ships = f"{ours.name} ships{' by --force' if ours.name in report.forced else ''}"
    drop = first.accuracy[report.headline] - ours.accuracy[report.headline]
    price = [_loss(drop, report.headline), _speed(first.median / ours.median)]
    limit = "no limit" if report.max_drop is None else f"limit {points(report.max_drop)}"
    return f"{ships}: {', '.join(filter(None, price))}; {limit}"


def sensitivity_verdict(report: SensitivityReport) -> str:
    """Say which group of layers matters most, and which least."""
    groups = sorted(report.sensitivity.groups, key=greatest, reverse=True)
    if not groups:
        return "no group of layers can be pruned"
    most, least = groups[0], groups[-1]
    return (
        f"{most.group} matters most ({100 * greatest(most):.0f} % of what {report.headline} lost "
        f"in all trials), {least.group} least ({100 * greatest(least):.0f} %)"
    )


def training_verdict(report: TrainingReport) -> str:
    """Say how good the network became, and what it took."""
    value = report.variant.accuracy[report.headline]
    steps = report.curve[-1][0] if report.curve else 0
    return (
        f"{report.headline} {value:.4f} on held-out data after {steps:,} steps in "
        f"{report.seconds / 60:.1f} minutes"
    )


def greatest(group: GroupSensitivity) -> float:
    """Return a group's sensitivity by the saliency by which it is largest."""
    return max(group.sensitivity.values(), default=0.0)


def points(share: float) -> str:
    """Write a difference between shares in points, which are hundredths."""
    count = f"{100 * share:.3g}"
    return f"{count} point{'' if count == '1' else 's'}"


def _loss(drop: float, headline: str) -> str:
    if math.isnan(drop):
        return f"{headline} has no value"
    if abs(100 * drop) < _NOTHING:
        return f"no loss of {headline}"
    return f"{points(abs(drop))} of {headline} {'lost' if drop > 0 else 'gained'}"


def _speed(times: float) -> str:
    if math.isnan(times):
        return ""
    return f"{times:.1f} times as fast" if times >= 1 else f"{1 / times:.1f} times as slow"
