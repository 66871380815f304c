"""95 % intervals of what was measured in some runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    T = TypeVar("T")

_Z = 1.959964
_RESAMPLES = 2000


def wilson(successes: int, runs: int) -> tuple[float, float]:
    """Return the interval of a share (Wilson 1927); NaN without runs."""
    if not runs:
        return np.nan, np.nan
    share, square = successes / runs, _Z**2 / runs
    middle = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * np.sqrt(share * (1 - share) / runs + square / (4 * runs))
    return float(max(middle - half, 0)), float(min(middle + half, 1))


def bootstrap(items: Sequence[T], statistic: Callable[[Sequence[T]], float]) -> tuple[float, float]:
    """Return the percentile interval of a statistic of independent items (Efron 1979).

    Resamples of which it is NaN are left out; NaN where it is NaN of all.
    """
    rng = np.random.default_rng(0)
    found = []
    for _ in range(_RESAMPLES):
        chosen = rng.integers(len(items), size=len(items))
        found.append(statistic([items[k] for k in chosen]))
    finite = [value for value in found if np.isfinite(value)]
    if not finite:
        return np.nan, np.nan
    low, high = np.percentile(finite, (2.5, 97.5))
    return float(low), float(high)
