"""Charts can be read: names do not cover each other, and odd values do not stop them."""

from __future__ import annotations

from itertools import combinations
from math import inf, nan
from typing import TYPE_CHECKING

import pytest

from edge_report.charts import bars_chart
from edge_report.pareto import pareto_chart
from edge_report.ranges import Range, ranges_chart
from edge_report.remains import remains_chart
from edge_report.small_multiples import share_curves_chart
from edge_report.svg import inline_svg
from edge_report.tuning import Turn, tuning_chart

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure


def test_names_of_points_cover_neither_each_other_nor_the_edge() -> None:
    points = {f"pruned int8 {k}": (8.8 + 0.01 * k, 0.98 + 0.001 * k) for k in range(7)}
    points |= {"original": (164.0, 0.99), "collapsed": (8.8, 0.2)}
    figure = pareto_chart(points, "MMAC", "share", rejected=["collapsed"], limit=0.975)

    figure.draw_without_rendering()
    names = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = [text.get_window_extent() for text in names]

    assert {text.get_text() for text in names} == {
        *(name for name in points if name != "collapsed"),
        "collapsed (0.2)",
    }
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    inside = figure.axes[0].get_window_extent()
    assert all(inside.contains(*box.min) and inside.contains(*box.max) for box in boxes)


def test_one_collapsed_variant_does_not_flatten_the_others() -> None:
    figure = pareto_chart({"a": (1, 0.99), "b": (2, 0.995), "c": (1, 0.01)}, "ms", "share")
    low, high = figure.axes[0].get_ylim()
    assert 0.9 < low < 0.99
    assert high < 1.05


def test_costs_of_more_than_a_decade_are_logarithmic() -> None:
    def scale(highest: float) -> str:
        return (
            pareto_chart({"a": (1, 0.1), "b": (highest, 0.2)}, "ms", "share").axes[0].get_xscale()
        )

    assert scale(9) == "linear"
    assert scale(11) == "log"
    assert pareto_chart({"a": (0, 0.1), "b": (5, 0.2)}, "ms", "s").axes[0].get_xscale() == "linear"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: pareto_chart({}, "x", "y"),
        lambda: pareto_chart({"a": (1, nan), "b": (1, 0.5)}, "x", "y", rejected=["a", "b"]),
        lambda: ranges_chart({}),
        lambda: ranges_chart({"a": Range(0, 0, nan), "b": Range(-5, 900, inf)}),
        lambda: remains_chart({}, "x"),
        lambda: share_curves_chart({}, "x", "y"),
        lambda: share_curves_chart({"a": {}, "b": {"l1": ([0, 1], [nan, 0.5])}}, "x", "y"),
        lambda: tuning_chart([], "y"),
        lambda: tuning_chart(
            [Turn("a", []), Turn("b", [(1, 0.0)]), Turn("c", [], [(3, nan)])], "y"
        ),
    ],
)
def test_what_is_missing_is_not_drawn(draw: Callable[[], Figure]) -> None:
    assert inline_svg(draw()).startswith("<svg")


def test_dollar_signs_are_no_formulas() -> None:
    name = "$a^$ & $_$"
    for figure in (
        bars_chart({name: {name: 1.0, "b": 2.0}}, name),
        pareto_chart({name: (1, 0.5)}, name, name),
        ranges_chart({name: Range(0, 1, 9.0)}),
        remains_chart({name: (2, 1)}, name),
        share_curves_chart({name: {name: ([0], [1])}}, name, name),
        tuning_chart([Turn(name, [(1, 1.0)]), Turn("b", [(1, 1.0)])], name),
    ):
        assert "$a^$ &amp; $_$" in inline_svg(figure)
