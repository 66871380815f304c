"""Which of several compromises are worth a look."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the points that no other one dominates, cheapest first.

    One point dominates another that is not cheaper, not better, and worse in one of the two. Of
    equal points all are returned. One with a value that is not finite is never on the front.

    Args:
        points: name -> (cost, what it buys).
    """
    usable = {name: point for name, point in points.items() if all(map(math.isfinite, point))}
    front = [
        name
        for name, point in usable.items()
        if not any(_dominates(other, point) for other in usable.values())
    ]
    return sorted(front, key=usable.__getitem__)


def _dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and one != other
