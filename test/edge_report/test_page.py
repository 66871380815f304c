"""A page says what it was given, needs nothing else, and cannot be broken by what it shows."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_report.charts import bars_chart, curve_chart, latency_chart
from edge_report.page import Page
from edge_report.pareto import pareto_chart
from edge_report.ranges import Range, ranges_chart
from edge_report.remains import remains_chart
from edge_report.small_multiples import share_curves_chart
from edge_report.tuning import Turn, tuning_chart

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

_VOID = {"meta", "img", "br"}


class _Reader(HTMLParser):
    """Collects text, and fails on tags that do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Ignore what is closed at once."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())


def _charts() -> list[Figure]:
    row = {"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 9.0}
    return [
        latency_chart({"engine": row, "total": {**row, "p50": 1.5}}),
        curve_chart({"fp32": ([0, 1], [0, 1]), "int8": ([0, 1], [0, 0.9])}, "px", "share"),
        bars_chart({"fp32": {"size": 2.0}, "int8": {"size": 0.5}}, "MB"),
        pareto_chart(
            {"a": (1, 0.5), "b": (1, 0.5), "worse": (2, 0.4), "bad": (1, 0.1)},
            "ms",
            "share",
            rejected=["bad"],
            limit=0.45,
        ),
        ranges_chart({"a": Range(-1, 30, 20.0), "b": Range(0, 0.1, 9.0, kept_float=True)}),
        remains_chart({"layer": (8, 3), "last": (2, 2)}, "filters"),
        share_curves_chart({"layer": {"l1": ([0, 0.5], [0.9, 0.2])}}, "pruned", "share"),
        tuning_chart([Turn(n, [(1, 9.0), (2, 0.1)], [(0, 0.1), (2, 0.9)]) for n in "ab"], "share"),
    ]


def test_page_is_one_file_with_everything_in_it(tmp_path: Path) -> None:
    page = Page("Title", "subtitle")
    page.tiles({"frames": 12_345, "share": 0.5, "none": float("nan")})
    page.table("cap", [{"a": 1, "b": 2.5}, {"a": None, "c": "text"}])
    page.table("fold", [{"a": "inside"}], folded=True)
    page.facts({"key": "value"})
    for number, chart in enumerate(_charts()):
        page.figure(f"chart {number}", chart)
    page.image("first", np.zeros((4, 6, 3), np.uint8))
    page.image("second", np.zeros((4, 6, 3), np.uint8))
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    words = _Reader(text).words
    for word in (
        "Title",
        "subtitle",
        "12,345",
        "0.5",
        "-",
        "2.50",
        "text",
        "fold",
        "inside",
        "value",
        "chart 2",
    ):
        assert word in words
    assert not re.search(r"(src|href)=.(?!data:|#)|url\((?!#)|@import", text)
    assert text.count('<div class="grid">') == 1
    assert text.count("<svg") == len(_charts())


def test_text_is_shown_and_never_read_as_markup(tmp_path: Path) -> None:
    nasty = '<script>alert("&")</script>'
    page = Page(nasty, nasty)
    page.section(nasty)
    page.text(nasty)
    page.table(nasty, [{nasty: nasty}])
    page.table(nasty, [{nasty: nasty}], folded=True)
    page.facts({nasty: nasty})
    page.image(nasty, np.zeros((4, 6, 3), np.uint8))
    page.figure(nasty, bars_chart({nasty: {"a": 1.0}}, nasty))
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "<script" not in text
    assert _Reader(text).words.count(nasty) >= 12


@pytest.mark.parametrize("number", range(len(_charts())))
def test_charts_take_every_colour_from_the_page(tmp_path: Path, number: int) -> None:
    """A colour of its own would be unreadable in the light or in the dark."""
    page = Page("chart")
    page.figure("chart", _charts()[number])
    page.write(tmp_path / "page.html")
    svg = re.search(r"<svg.*</svg>", (tmp_path / "page.html").read_text(), re.DOTALL)
    assert svg
    assert "var(--ink)" in svg[0]
    assert "var(--series-1)" in svg[0]
    painted = re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svg[0])
    assert not painted
