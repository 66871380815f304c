"""Uniform cubic B-splines: smooth (C2) curves that stay within their control points.

So do their derivatives: a curve's speed is at most the largest step between its control points,
divided by the time between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16


def evaluate(controls: Array, places: Array) -> Array:
    """The curve (m, d) of control points (n, d) at `places` (m,) in 0 .. n - 3.

    Place k is the beginning of the piece that control points k to k + 3 govern.
    """
    first = np.clip(np.floor(places).astype(int), 0, len(controls) - 4)
    f = (places - first)[:, None]
    curve: Array = (
        (1 - f) ** 3 * controls[first]
        + (4 - 6 * f**2 + 3 * f**3) * controls[first + 1]
        + (1 + 3 * f + 3 * f**2 - 3 * f**3) * controls[first + 2]
        + f**3 * controls[first + 3]
    ) / 6
    return curve


def along(corners: Array, step: float) -> Array:
    """Points (n, d) about `step` apart on the polygon through `corners` (m, d)."""
    reached = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1)))
    places = np.linspace(0, reached[-1], max(2, round(reached[-1] / step) + 1))
    return np.stack([np.interp(places, reached, axis) for axis in corners.T], axis=1)


def smoothed(controls: Array, passes: int) -> Array:
    """Control points (n, d) with their corners taken off; the ends are repeated outwards."""
    for _ in range(passes):
        padded = np.pad(controls, ((2, 2), (0, 0)), "edge")
        count = len(controls)
        controls = sum(
            (w * padded[k : k + count] for k, w in enumerate(_BINOMIAL)), np.zeros_like(controls)
        )
    return controls


def followed(aim: Array, step: float) -> Array:
    """Values (n,) that go after `aim` (n,) by at most `step` at a time."""
    values = aim.tolist()
    for k in range(1, len(values)):
        values[k] = values[k - 1] + min(max(values[k] - values[k - 1], -step), step)
    return np.array(values)
