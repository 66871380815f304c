"""The charts that reports share; every function returns a matplotlib Figure for Page.figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_report.axes import SMALL_TEXT, TEXT, canvas, legend, shortened
from edge_report.svg import GRID, INK, SERIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

_MANY_BARS = 12  # more than these are drawn smaller
_LONGEST = 44  # characters beside a bar


def latency_chart(stages: Mapping[str, Mapping[str, float]], unit: str = "ms") -> Figure:
    """Draw one row per stage: a bar to the median, marks at the higher percentiles.

    Args:
        stages: stage -> {"p50": ..., "p95": ..., "p99": ..., "max": ...}, first one on top; a
            percentile may be missing.
        unit: of all values.
    """
    figure, axes = canvas(height=0.9 + 0.34 * len(stages))
    rows = np.arange(len(stages))
    marks = {"p95": ("o", 6.0), "p99": ("D", 5.0), "max": ("|", 10.0)}
    for row, values in zip(rows, stages.values(), strict=True):
        axes.plot([0, max(values.values())], [row, row], color=GRID, linewidth=1.2, zorder=1)
    medians = [values.get("p50", 0.0) for values in stages.values()]
    axes.barh(rows, medians, height=0.55, color=SERIES[0], label="p50", zorder=2)
    for colour, (name, (marker, size)) in zip(SERIES[1:], marks.items(), strict=False):
        points = [(v[name], row) for row, v in zip(rows, stages.values(), strict=True) if name in v]
        if points:
            x, y = zip(*points, strict=True)
            (dots,) = axes.plot(x, y, marker, color=colour, label=name, zorder=3)
            dots.set_markersize(size)
            dots.set_markeredgewidth(2.0 if marker == "|" else 0.0)
    axes.set_yticks(rows, list(stages))
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    legend(axes)
    return figure


def curve_chart(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str,
    y_label: str,
    y_limits: tuple[float, float] | None = None,
) -> Figure:
    """Draw lines, name -> (x, y); for example the share of right keypoints over a threshold."""
    figure, axes = canvas(height=3.1)
    for index, (name, (x, y)) in enumerate(lines.items()):
        axes.plot(x, y, color=SERIES[index % len(SERIES)], linewidth=2.0, label=name)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.margins(x=0)
    if y_limits is not None:
        axes.set_ylim(*y_limits)
    axes.grid(color=GRID, linewidth=0.8)
    if len(lines) > 1:
        legend(axes)
    return figure


def bars_chart(
    groups: Mapping[str, Mapping[str, float]], value_label: str, digits: str = ".3g"
) -> Figure:
    """Draw horizontal bars with their values written beside them.

    Args:
        groups: row -> {series: value}; for example variant -> {"accuracy": 0.99}.
        value_label: what the values are, with their unit.
        digits: format of the written values.
    """
    series = list(dict.fromkeys(name for values in groups.values() for name in values))
    bars = len(groups) * max(1, len(series))
    small = bars > _MANY_BARS
    text = SMALL_TEXT if small else TEXT
    figure, axes = canvas(height=0.9 + (0.17 if small else 0.3) * bars)
    rows = np.arange(len(groups))
    height = 0.75 / max(1, len(series))
    for index, name in enumerate(series):
        values = [group.get(name, np.nan) for group in groups.values()]
        offset = (index - (len(series) - 1) / 2) * height
        colour = SERIES[index % len(SERIES)]
        drawn = axes.barh(rows + offset, values, height=height * 0.9, color=colour, label=name)
        written = ["" if np.isnan(value) else format(value, digits) for value in values]
        axes.bar_label(drawn, written, padding=4, color=INK, fontsize=text)
    axes.set_yticks(rows, [shortened(name, _LONGEST) for name in groups])
    axes.tick_params(axis="y", labelsize=text)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlabel(value_label)
    axes.margins(x=0.14)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    if len(series) > 1:
        legend(axes)
    return figure
