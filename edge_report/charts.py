"""The charts that reports share; every function returns a matplotlib figure for `Page.picture`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from edge_report.front import pareto_front

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from edge_report.front import Better

    Lines = Mapping[str, tuple[Sequence[float], Sequence[float]]]

# Read on a phone as well as printed; every colour but black stands out on white and on black.
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.alpha": 0.3,
    "grid.color": "0.5",
    "legend.frameon": False,
    "text.parse_math": False,  # names of layers may have dollar signs
}
_WIDTH = 5.0  # inches
_SMALL = 7  # points
_LONGEST = 30  # characters beside a bar
_MANY_BARS = 12  # more than these are drawn smaller
_COLUMNS = 3  # of small charts
_LINE = 78  # characters in a line of a legend
_HANDLE = 8  # characters that the mark beside a name takes
_DECADE = 10.0
_GREY = "0.5"


@mpl.rc_context(_STYLE)
def latency_chart(stages: Mapping[str, Mapping[str, float]], unit: str = "ms") -> Figure:
    """Draw one row per stage: a bar to the median, marks at the higher percentiles.

    Args:
        stages: stage -> {"p50": ..., "p95": ..., "p99": ..., "max": ...}, first one on top; a
            percentile may be missing.
        unit: of all values.
    """
    figure, axes = _canvas(0.9 + 0.28 * len(stages))
    rows = np.arange(len(stages))
    axes.barh(rows, _column(stages, "p50"), height=0.6, color="C0", label="p50")
    for colour, (name, marker) in enumerate({"p95": "o", "p99": "D", "max": "|"}.items(), start=1):
        axes.plot(_column(stages, name), rows, marker, color=f"C{colour}", label=name)
    _name_rows(axes, list(stages))
    axes.set_xlabel(unit)
    _legend(figure)
    return figure


@mpl.rc_context(_STYLE)
def curve_chart(
    lines: Lines,
    x_label: str,
    y_label: str,
    *,
    y_limits: tuple[float, float] | None = None,
    logarithmic: bool = False,
) -> Figure:
    """Draw lines, name -> (x, y); for example the share of right keypoints over a threshold.

    Args:
        lines: drawn in this order; a name beside a single one is not needed.
        x_label: what x is, with its unit.
        y_label: what y is, with its unit.
        y_limits: of the vertical scale, where the values alone would give another impression.
        logarithmic: whether this scale is, which must then be of values above 0.
    """
    figure, axes = _canvas(3.0)
    for name, (x, y) in lines.items():
        axes.plot(x, y, label=name)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.margins(x=0)
    if logarithmic:
        axes.set_yscale("log")
        _decimal(axes.yaxis)
    if y_limits is not None:
        axes.set_ylim(*y_limits)
    if len(lines) > 1:
        _legend(figure)
    return figure


@mpl.rc_context(_STYLE)
def curve_grid(charts: Mapping[str, Lines], x_label: str, y_label: str) -> Figure:
    """Draw many small charts on one scale; a line has one colour in all of them.

    Args:
        charts: title -> line -> (x, y); values that are not finite leave a gap.
        x_label: what x is, with its unit.
        y_label: what y is, with its unit.
    """
    columns = min(_COLUMNS, max(1, len(charts)))
    rows = max(1, math.ceil(len(charts) / columns))
    figure = Figure((_WIDTH, 0.9 + 1.1 * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
    names = list(dict.fromkeys(name for lines in charts.values() for name in lines))
    for axes, (title, lines) in zip(grid, charts.items(), strict=False):
        axes.set_title(_shortened(title, _LONGEST * 2 // columns), fontsize=_SMALL, loc="left")
        axes.tick_params(labelsize=_SMALL)
        for name, (x, y) in lines.items():
            axes.plot(x, y, ".-", color=f"C{names.index(name)}", label=name)
    for axes in grid[len(charts) :]:
        axes.set_visible(False)
    # The lowest chart of a column that is not full stands above the row with the scale.
    for axes in grid[max(0, len(charts) - columns) : len(charts)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel(x_label, fontsize="medium")
    figure.supylabel(y_label, fontsize="medium")
    if len(names) > 1:
        _legend(figure)
    return figure


@mpl.rc_context(_STYLE)
def bars_chart(
    groups: Mapping[str, Mapping[str, float]], value_label: str, digits: str = ".3g"
) -> Figure:
    """Draw horizontal bars with their values written beside them.

    Args:
        groups: row -> {series: value}, first one on top; for example variant -> {"PCK": 0.99}.
        value_label: what the values are, with their unit.
        digits: format of the written values.
    """
    series = list(dict.fromkeys(name for values in groups.values() for name in values))
    bars = len(groups) * max(1, len(series))
    size = _SMALL if bars > _MANY_BARS else 9
    figure, axes = _canvas(0.9 + 0.02 * size * bars)
    height = 0.8 / max(1, len(series))
    for index, name in enumerate(series):
        values = [x if math.isfinite(x) else math.nan for x in _column(groups, name)]
        rows = np.arange(len(groups)) + (index - (len(series) - 1) / 2) * height
        drawn = axes.barh(rows, values, height=height, label=name)
        written = ["" if math.isnan(value) else format(value, digits) for value in values]
        axes.bar_label(drawn, written, padding=3, fontsize=size)
    _name_rows(axes, list(groups))
    axes.tick_params(axis="y", labelsize=size)
    axes.margins(x=0.14)
    axes.set_xlabel(value_label)
    if len(series) > 1:
        _legend(figure)
    return figure


@mpl.rc_context(_STYLE)
def pareto_chart(
    points: Mapping[str, tuple[float, float]],
    x_label: str,
    y_label: str,
    *,
    better: Better = "higher",
    rejected: Collection[str] = (),
    limit: float | None = None,
) -> Figure:
    """Draw what accuracy costs, and a line through the points that no accepted one dominates.

    The vertical scale shows these and the limit: a point far away stands at its edge, a triangle
    that points there, so that one failure does not flatten the differences between the others.
    Costs of more than a decade have a logarithmic scale. Points with a value that is not finite
    are left out.

    Args:
        points: name -> (cost, metric).
        x_label: what the cost is, with its unit; less is better.
        y_label: what the metric is, with its unit.
        better: of the metric.
        rejected: names of points that are not to be chosen, however good they look.
        limit: worst metric that is accepted; drawn as a line.
    """
    shown = {name: point for name, point in points.items() if all(map(math.isfinite, point))}
    front = pareto_front({n: at for n, at in shown.items() if n not in rejected}, better)
    figure, axes = _canvas(3.0 + 0.09 * len(shown))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if not shown:
        return figure
    low, high = _range([shown[name][1] for name in front or shown], limit)
    axes.plot(*np.transpose([shown[name] for name in front or shown]), color=_GREY, zorder=1)
    for index, (name, (cost, metric)) in enumerate(shown.items()):
        marker = "v" if metric < low else "^" if metric > high else "X" if name in rejected else "o"
        label = f"{name} (rejected)" if name in rejected else name
        y = min(max(metric, low), high)
        if y != metric:
            label += f": {metric:.4g}"
        axes.plot(cost, y, marker, color=f"C{index}", label=label, markersize=7, alpha=0.8)
    if limit is not None:
        axes.axhline(limit, color=_GREY, linestyle="--", label="limit")
    costs = [cost for cost, _ in shown.values()]
    if min(costs) > 0 and max(costs) > _DECADE * min(costs):
        axes.set_xscale("log")
        _decimal(axes.xaxis)
    axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.ticklabel_format(axis="y", useOffset=False)
    _legend(figure)
    return figure


def _canvas(height: float) -> tuple[Figure, Axes]:
    figure = Figure((_WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _column(rows: Mapping[str, Mapping[str, float]], name: str) -> list[float]:
    return [row.get(name, math.nan) for row in rows.values()]


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Write names beside horizontal bars, the first one on top."""
    axes.set_yticks(range(len(names)), [_shortened(name, _LONGEST) for name in names])
    axes.set_ylim(max(1, len(names)) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def _legend(figure: Figure) -> None:
    """Name what is drawn, above all charts of the figure."""
    labelled = [axes.get_legend_handles_labels() for axes in figure.axes]
    named = {
        label: handle
        for handles, labels in labelled
        for handle, label in zip(handles, labels, strict=True)
    }
    if named:
        columns = max(1, _LINE // (_HANDLE + max(map(len, named))))
        figure.legend(named.values(), named.keys(), loc="outside upper left", ncol=columns)


def _decimal(axis: Axis) -> None:
    """Write 1, 2, 5, 10, ... on a logarithmic axis instead of powers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:,g}")


def _range(metrics: Sequence[float], limit: float | None) -> tuple[float, float]:
    """Return what the scale must show: the metrics, the limit, and some air around them."""
    values = [*metrics, *([] if limit is None else [limit])]
    low, high = min(values), max(values)
    air = 0.6 * max(high - low, 0.02 * abs(high), 1e-9)
    return low - air, high + air


def _shortened(name: str, longest: int) -> str:
    """Leave the middle out of a name that has no room; layers differ at their ends."""
    if len(name) <= longest:
        return name
    tail = 2 * (longest - 1) // 3
    return f"{name[: longest - 1 - tail]}…{name[-tail:]}"
