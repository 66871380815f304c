"""Metrics of either direction, errors among them, compared as losses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_compression.protocol import CompressibleSkill, Metric


def primary(skill: CompressibleSkill) -> Metric:
    """Return what the skill's primary metric means."""
    return skill.metrics[skill.primary_metric]


def score(metric: Metric, value: float) -> float:
    """Return a number that is higher for a better value, and lowest where there is none."""
    if math.isnan(value):
        return -math.inf
    return value if metric.better == "higher" else -value


def loss(metric: Metric, before: float, after: float) -> float:
    """Return how much worse `after` is; negative where it is better, NaN without a value."""
    return before - after if metric.better == "higher" else after - before
