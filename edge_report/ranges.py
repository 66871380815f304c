"""Ranges of tensors, and how well eight bits hold them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from edge_report.axes import SMALL_TEXT, panels, shortened
from edge_report.svg import GRID, INK, SERIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LONGEST = 34  # characters beside a bar
_DECADE = 10.0
_EXACT = 120.0  # dB, more than the digits of float32 can tell; it would squash the others
_MOST_TICKS = 3  # on either side of zero
_QUANTISED, _FLOAT = SERIES[0], SERIES[1]


@dataclass(frozen=True)
class Range:
    """One tensor.

    Attributes:
        low: smallest value of the range that is represented.
        high: the largest.
        sqnr_db: of quantising it; not a number where there is none.
        kept_float: it was not quantised.
    """

    low: float
    high: float
    sqnr_db: float
    kept_float: bool = False


def ranges_chart(tensors: Mapping[str, Range]) -> Figure:
    """Draw one row per tensor, first one on top: its range, and its SQNR beside it."""
    figure, (spans, ratios) = panels(
        1.1 + 0.19 * len(tensors), columns=2, share_y="row", widths=(3, 2)
    )
    rows = np.arange(len(tensors))
    for name, colour, kept in (("quantised", _QUANTISED, False), ("in float", _FLOAT, True)):
        chosen = [
            (row, tensor)
            for row, tensor in zip(rows, tensors.values(), strict=True)
            if tensor.kept_float == kept
        ]
        if not chosen:
            continue
        at = [row for row, _ in chosen]
        spans.barh(
            at,
            [tensor.high - tensor.low for _, tensor in chosen],
            left=[tensor.low for _, tensor in chosen],
            height=0.6,
            color=colour,
        )
        levels = [tensor.sqnr_db if tensor.sqnr_db < _EXACT else math.nan for _, tensor in chosen]
        ratios.plot(
            levels, at, "D" if kept else "o", color=colour, label=name, markersize=6, linestyle=""
        )
    for row, tensor in enumerate(tensors.values()):
        _write(ratios, tensor.sqnr_db, row)
    spans.set_yticks(rows, [shortened(name, _LONGEST) for name in tensors])
    spans.set_ylim(len(tensors) - 0.4, -0.6)
    _scale(spans, list(tensors.values()))
    spans.set_xlabel("range")
    ratios.set_xlabel("SQNR [dB]")
    ratios.margins(x=0.2)
    for axes in (spans, ratios):
        axes.tick_params(labelsize=SMALL_TEXT)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
    if len({tensor.kept_float for tensor in tensors.values()}) > 1:
        figure.legend(loc="outside upper right", ncol=2, frameon=False, labelcolor=INK, fontsize=10)
    return figure


def _write(axes: Axes, level: float, row: int) -> None:
    exact = level >= _EXACT
    if exact or math.isfinite(level):
        axes.annotate(
            "exact" if exact else f"{level:.1f}",
            (0, row) if exact else (level, row),
            (7, 0),
            xycoords=axes.get_yaxis_transform() if exact else "data",
            textcoords="offset points",
            va="center",
            color=INK,
            fontsize=SMALL_TEXT,
        )


def _scale(axes: Axes, tensors: list[Range]) -> None:
    """Where ranges differ by more than a decade, stretch the middle, so that all can be seen."""
    reach = [max(abs(tensor.low), abs(tensor.high)) for tensor in tensors]
    reach = [value for value in reach if math.isfinite(value) and value > 0]
    axes.use_sticky_edges = False
    axes.margins(x=0.04)
    axes.axvline(0, color=INK, linewidth=1.0)
    if not reach or max(reach) <= _DECADE * min(reach):
        return
    least = max(min(reach), max(reach) / 1000)
    axes.set_xscale("symlog", linthresh=least)
    first, last = math.ceil(math.log10(least)), math.floor(math.log10(max(reach)))
    powers = range(first, last + 1, max(1, math.ceil((last + 1 - first) / _MOST_TICKS)))
    low = min(tensor.low for tensor in tensors)
    ticks = [0.0, *(10.0**p for p in powers), *(-(10.0**p) for p in powers if -(10.0**p) >= low)]
    axes.xaxis.set_major_locator(FixedLocator(sorted(ticks)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
