"""Many small charts on one scale, so that they can be compared at a glance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_report.axes import SMALL_TEXT, panels, shortened
from edge_report.svg import GRID, INK, SERIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

_COLUMNS = 4
_LONGEST = 20  # characters over a chart
_TICKS = (0.0, 0.5, 1.0)


def share_curves_chart(
    charts: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    x_label: str,
    y_label: str,
) -> Figure:
    """Draw one chart per name, over a share from 0 to 1; a line has one colour in all of them.

    Args:
        charts: title -> line -> (shares, values); values that are not finite leave a gap.
        x_label: what it is a share of.
        y_label: what the values are.
    """
    columns = min(_COLUMNS, max(1, len(charts)))
    rows = max(1, math.ceil(len(charts) / columns))
    figure, grid = panels(0.9 + 1.15 * rows, rows, columns, share_x=True, share_y=True)
    lines = list(dict.fromkeys(line for chart in charts.values() for line in chart))
    handles = {}
    for axes, (title, chart) in zip(grid, charts.items(), strict=False):
        axes.set_title(
            shortened(title, _LONGEST), color=INK, fontsize=SMALL_TEXT, loc="left", pad=3
        )
        for name, (x, y) in chart.items():
            colour = SERIES[lines.index(name) % len(SERIES)]
            (handles[name],) = axes.plot(x, y, "o-", color=colour, linewidth=1.5, markersize=3)
        axes.set_xlim(0, 1)
        axes.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
        axes.tick_params(labelsize=SMALL_TEXT)
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.grid(color=GRID, linewidth=0.8)
    for axes in grid[len(charts) :]:
        axes.set_visible(False)
    # The lowest chart of a column that is not full stands above the row with the scale.
    for axes in grid[max(0, len(charts) - columns) : len(charts)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel(x_label, color=INK, fontsize=10)
    figure.supylabel(y_label, color=INK, fontsize=10)
    if len(lines) > 1:
        figure.legend(
            [handles[name] for name in lines],
            lines,
            loc="outside upper right",
            ncol=4,
            frameon=False,
            labelcolor=INK,
            fontsize=10,
            handlelength=1.2,
        )
    return figure
