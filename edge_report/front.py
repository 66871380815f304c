"""Which of several compromises are worth a look."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Better = Literal["higher", "lower"]


def pareto_front(points: Mapping[str, tuple[float, float]], better: Better = "higher") -> list[str]:
    """Return the points that no other one dominates, cheapest first.

    One point dominates another that is not cheaper, not better, and worse in one of the two. Of
    equal points all are returned. One with a value that is not finite is never on the front.

    Args:
        points: name -> (cost, metric).
        better: of the metric; of the cost, less is.
    """
    sign = 1 if better == "lower" else -1
    usable = {
        name: (cost, sign * metric)
        for name, (cost, metric) in points.items()
        if math.isfinite(cost) and math.isfinite(metric)
    }
    front = [
        name
        for name, point in usable.items()
        if not any(_dominates(other, point) for other in usable.values())
    ]
    return sorted(front, key=lambda name: points[name])


def _dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Of both values, less is better."""
    return one[0] <= other[0] and one[1] <= other[1] and one != other
