"""Empty charts in the look of the reports, for the modules that draw on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from edge_report.svg import GRID, INK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

WIDTH = 6.4  # inches; heights are chosen by the charts
TEXT = 10  # points
SMALL_TEXT = 8


def canvas(height: float) -> tuple[Figure, Axes]:
    """Make an empty chart, 6.4 inches wide, `height` inches high."""
    figure, (axes,) = panels(height)
    return figure, axes


def panels(
    height: float,
    rows: int = 1,
    columns: int = 1,
    *,
    share_x: bool | Literal["col"] = False,
    share_y: bool | Literal["row"] = False,
    widths: Sequence[float] | None = None,
    heights: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """Make a grid of empty charts, `height` inches high in all; the axes come row by row.

    Args:
        height: of the whole picture in inches.
        rows: of charts.
        columns: of charts.
        share_x: whether charts have the same horizontal scale, as matplotlib takes it.
        share_y: the same of the vertical scale.
        widths: of the columns, relative.
        heights: of the rows, relative.
    """
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.patch.set_visible(False)
    grid = figure.subplots(
        rows,
        columns,
        squeeze=False,
        sharex=share_x,
        sharey=share_y,
        width_ratios=widths,
        height_ratios=heights,
    )
    charts: list[Axes] = list(grid.flat)
    for axes in charts:
        axes.patch.set_visible(False)
        axes.set_axisbelow(True)
        axes.tick_params(colors=INK, labelsize=TEXT, length=0, which="both")
        axes.xaxis.label.set(color=INK, size=TEXT)
        axes.yaxis.label.set(color=INK, size=TEXT)
        for side, spine in axes.spines.items():
            spine.set_visible(side in {"left", "bottom"})
            spine.set_color(GRID)
    return figure, charts


def legend(axes: Axes) -> None:
    """Name what is drawn, above the chart."""
    handles, labels = axes.get_legend_handles_labels()
    # Bars before the marks on them: matplotlib lists lines first.
    order = sorted(range(len(handles)), key=lambda k: not isinstance(handles[k], BarContainer))
    axes.legend(
        [handles[k] for k in order],
        [labels[k] for k in order],
        frameon=False,
        labelcolor=INK,
        fontsize=TEXT,
        ncol=4,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        borderaxespad=0.2,
        handlelength=1.2,
    )


def logarithmic_ticks(axis: Axis) -> None:
    """Write 1, 2, 5, 10, ... on a logarithmic axis instead of powers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def shortened(name: str, longest: int) -> str:
    """Leave the middle out of a name that has no room; layers differ at their ends."""
    if len(name) <= longest:
        return name
    tail = 2 * (longest - 1) // 3
    return f"{name[: longest - 1 - tail]}…{name[-tail:]}"
