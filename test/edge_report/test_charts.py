"""Charts show what matters, and odd values and names do not stop them."""

from __future__ import annotations

import io
from math import inf, nan
from typing import TYPE_CHECKING

import pytest

from edge_report.charts import bars_chart, curve_chart, curve_grid, latency_chart, pareto_chart

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg")
    return file.getvalue()


def _legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    ("better", "values", "limit"),
    [("higher", (0.99, 0.995, 0.01), 0.98), ("lower", (0.011, 0.01, 0.9), 0.012)],
)
def test_one_collapsed_variant_does_not_flatten_the_others(
    better: str, values: tuple[float, float, float], limit: float
) -> None:
    points = dict(zip("abc", zip((1, 2, 1), values, strict=True), strict=True))
    figure = pareto_chart(points, "ms", "metric", better=better, rejected=["c"], limit=limit)
    low, high = figure.axes[0].get_ylim()
    assert low < min(values[0], values[1], limit)
    assert max(values[0], values[1], limit) < high
    assert high - low < 0.05
    assert _legend(figure) == ["a", "b", f"c (rejected): {values[2]:g}", "limit"]


def test_costs_of_more_than_a_decade_are_logarithmic() -> None:
    def scale(lowest: float, highest: float) -> str:
        points = {"a": (lowest, 0.1), "b": (highest, 0.2)}
        return pareto_chart(points, "ms", "share").axes[0].get_xscale()

    assert scale(1, 9) == "linear"
    assert scale(1, 11) == "log"
    assert scale(0, 5) == "linear"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: pareto_chart({}, "x", "y"),
        lambda: pareto_chart({"a": (1, nan), "b": (1, 0.5)}, "x", "y", rejected=["a", "b"]),
        lambda: bars_chart({}, "x"),
        lambda: bars_chart({"a": {"x": inf, "y": nan}, "b": {"z": -1.0}}, "x"),
        lambda: curve_chart({}, "x", "y"),
        lambda: curve_chart({"a": ([], []), "b": ([1], [nan])}, "x", "y"),
        lambda: curve_grid({}, "x", "y"),
        lambda: curve_grid({"a": {}, "b": {"l1": ([0, 1], [nan, 0.5])}}, "x", "y"),
        lambda: latency_chart({}),
        lambda: latency_chart({"a": {}, "b": {"p99": 1.0}}),
    ],
)
def test_what_is_missing_is_not_drawn(draw: Callable[[], Figure]) -> None:
    assert "<svg" in _svg(draw())


def test_dollar_signs_are_no_formulas() -> None:
    name = "$a^$ & $_$"  # which matplotlib could not read as one
    for figure in (
        latency_chart({name: {"p50": 1.0}}, name),
        curve_chart({name: ([0], [1]), "b": ([0], [1])}, name, name),
        curve_grid({name: {name: ([0], [1]), "b": ([0], [1])}}, name, name),
        bars_chart({name: {name: 1.0, "b": 2.0}}, name),
        pareto_chart({name: (1, 0.5)}, name, name),
    ):
        assert "<svg" in _svg(figure)
