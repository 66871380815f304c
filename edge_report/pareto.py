"""What accuracy costs: all compromises that were tried, and the front of the good ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_report.axes import canvas, legend, logarithmic_ticks
from edge_report.front import pareto_front
from edge_report.labels import Label, place_labels
from edge_report.svg import GRID, INK, SERIES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DECADE = 10.0
_LEAST_SPREAD = 0.02  # of the best value, below which differences are not blown up further
_FRONT, _DOMINATED, _REJECTED = SERIES[0], SERIES[5], SERIES[2]


def pareto_chart(
    points: Mapping[str, tuple[float, float]],
    x_label: str,
    y_label: str,
    *,
    rejected: Collection[str] = (),
    limit: float | None = None,
) -> Figure:
    """Draw the points, those that no accepted one dominates on a line.

    A point far below the front stands at the lower edge, an arrow with its value, so that one
    failure does not flatten all differences between the others. Costs of more than a decade are
    drawn on a logarithmic scale. Points with a value that is not finite are left out.

    Args:
        points: name -> (cost, accuracy); less and more are better.
        x_label: what the cost is, with its unit.
        y_label: what the accuracy is.
        rejected: names of points that are not to be chosen, however good they look.
        limit: least accuracy that is accepted; drawn as a line.
    """
    shown = {name: point for name, point in points.items() if all(map(math.isfinite, point))}
    front = pareto_front({name: shown[name] for name in shown if name not in rejected})
    figure, axes = canvas(height=3.5)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color=GRID, linewidth=0.8)
    axes.margins(x=0.12)
    if not shown:
        return figure
    floor, ceiling = _range([shown[name][1] for name in front or shown], limit)
    # The front first and in its order, which is that of its line.
    drawn = {
        name: (shown[name][0], max(shown[name][1], floor))
        for name in dict.fromkeys([*front, *shown])
    }
    _scale(axes, [cost for cost, _ in drawn.values()])
    if limit is not None:
        axes.axhline(limit, color=INK, linewidth=1.0, linestyle=(0, (4, 3)), label="limit")
    below = {name for name in drawn if shown[name][1] < floor}
    colours = {
        name: _FRONT if name in front else _REJECTED if name in rejected else _DOMINATED
        for name in drawn
    }
    for colour, kind, style in (
        (_FRONT, "not dominated", "o-"),
        (_DOMINATED, "dominated", "o"),
        (_REJECTED, "rejected", "X"),
    ):
        names = [name for name in drawn if colours[name] == colour]
        if names:
            _dots(axes, [drawn[name] for name in names if name not in below], colour, kind, style)
    for name in below:
        axes.plot(*drawn[name], "v", color=colours[name], markersize=8, markeredgewidth=0)
    air = 0.12 * (ceiling - floor)
    axes.set_ylim(floor - air, ceiling + air)
    axes.ticklabel_format(axis="y", useOffset=False)
    labels = {
        name: Label(
            f"{name} ({shown[name][1]:.3g})" if name in below else name,
            *drawn[name],
            colour=INK if name in front else colours[name],
            needed=name in front,
        )
        for name in drawn
    }
    legend(axes)
    lines = [[drawn[name] for name in front]] if front else []
    if limit is not None:
        lines.append([(x, limit) for x in axes.get_xlim()])
    place_labels(figure, axes, list(labels.values()), lines)
    return figure


def _range(gains: list[float], limit: float | None) -> tuple[float, float]:
    """Return what the chart must show: the front, the limit, and as much again below."""
    values = [*gains, *([] if limit is None else [limit])]
    low, high = min(values), max(values)
    spread = max(high - low, _LEAST_SPREAD * abs(high), 1e-9)
    return low - 0.6 * spread, high


def _scale(axes: Axes, costs: list[float]) -> None:
    if min(costs) > 0 and max(costs) > _DECADE * min(costs):
        axes.set_xscale("log")
        logarithmic_ticks(axes.xaxis)


def _dots(axes: Axes, at: list[tuple[float, float]], colour: str, name: str, style: str) -> None:
    x, y = [x for x, _ in at], [y for _, y in at]
    axes.plot(
        x,
        y,
        style,
        color=colour,
        label=name,
        markersize=8,
        markeredgewidth=0,
        linewidth=1.6,
        zorder=3 if colour == _FRONT else 2,
    )
