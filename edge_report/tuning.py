"""How a network learnt, in one or several turns: what it was judged by, and its loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_report.axes import SMALL_TEXT, logarithmic_ticks, panels
from edge_report.svg import GRID, INK, SERIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DECADE = 10.0


@dataclass(frozen=True)
class Turn:
    """One training.

    Attributes:
        name: stands over its part of the chart.
        losses: (step, mean loss), steps counted from the turn's beginning.
        judgements: (step, accuracy); the best one is marked.
    """

    name: str
    losses: Sequence[tuple[float, float]]
    judgements: Sequence[tuple[float, float]] = ()


def tuning_chart(turns: Sequence[Turn], accuracy_label: str) -> Figure:
    """Draw the turns one after the other: judgements above, losses below, over the steps."""
    judged = any(turn.judgements for turn in turns)
    learnt = any(turn.losses for turn in turns)
    count = max(1, judged + learnt)
    figure, grid = panels(0.9 + 1.7 * count, count, share_x="col")
    start = 0.0
    for turn in turns:
        end = max([0.0, *(step for step, _ in [*turn.losses, *turn.judgements])])
        if judged:
            _draw(grid[0], turn.judgements, start, "o-", SERIES[1])
            _mark_best(grid[0], turn.judgements, start)
        if learnt:
            _draw(grid[-1], turn.losses, start, "-", SERIES[0])
        if len(turns) > 1:
            _head(grid, turn.name, start)
        start += end
    if judged:
        grid[0].set_ylabel(accuracy_label)
        grid[0].ticklabel_format(axis="y", useOffset=False)
    if learnt:
        grid[-1].set_ylabel("mean loss")
        losses = [loss for turn in turns for _, loss in turn.losses]
        if min(losses) > 0 and max(losses) > _DECADE * min(losses):
            grid[-1].set_yscale("log")
            logarithmic_ticks(grid[-1].yaxis)
    for axes in grid:
        axes.margins(x=0.02)
        axes.grid(color=GRID, linewidth=0.8)
    grid[-1].set_xlabel("step")
    figure.align_ylabels(grid)
    return figure


def _draw(
    axes: Axes, points: Sequence[tuple[float, float]], start: float, style: str, colour: str
) -> None:
    x = [start + step for step, _ in points]
    axes.plot(x, [value for _, value in points], style, color=colour, markersize=4, linewidth=1.8)


def _mark_best(axes: Axes, points: Sequence[tuple[float, float]], start: float) -> None:
    if points:
        step, value = max(points, key=lambda point: point[1])
        axes.plot(
            start + step, value, "o", markersize=10, markerfacecolor="none", markeredgecolor=INK
        )


def _head(grid: Sequence[Axes], name: str, start: float) -> None:
    for axes in grid:
        axes.axvline(start, color=INK, linewidth=1.0, linestyle=(0, (2, 3)))
    grid[0].annotate(
        name,
        (start, 1.0),
        (3, 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        color=INK,
        fontsize=SMALL_TEXT,
    )
