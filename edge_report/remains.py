"""What is left of things that were made smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_report.axes import SMALL_TEXT, canvas, legend, shortened
from edge_report.svg import GRID, INK, SERIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

_LONGEST = 36  # characters beside a bar


def remains_chart(sizes: Mapping[str, tuple[int, int]], x_label: str) -> Figure:
    """Draw one row per thing: a bar of what is left on the bar of what was there.

    Args:
        sizes: name -> (before, after), first one on top.
        x_label: what is counted.
    """
    figure, axes = canvas(height=0.9 + 0.19 * len(sizes))
    rows = np.arange(len(sizes))
    before, after = np.array(list(sizes.values()), dtype=float).reshape(-1, 2).T
    whole = axes.barh(rows, before, height=0.72, color=GRID, label="before")
    axes.barh(rows, after, height=0.72, color=SERIES[0], label="after")
    written = [f"{now:,} of {then:,}" if now != then else "" for then, now in sizes.values()]
    axes.bar_label(whole, written, padding=4, color=INK, fontsize=SMALL_TEXT)
    axes.set_yticks(rows, [shortened(name, _LONGEST) for name in sizes])
    axes.tick_params(axis="y", labelsize=SMALL_TEXT)
    axes.set_ylim(len(sizes) - 0.4, -0.6)
    axes.margins(x=0.16)
    axes.set_xlim(left=0)
    axes.set_xlabel(x_label)
    legend(axes)
    return figure
