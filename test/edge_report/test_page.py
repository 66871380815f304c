"""A page says what it was given, needs nothing else, and cannot be broken by what it shows."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge_report.charts import bars_chart
from edge_report.page import KeyFigure, Page

if TYPE_CHECKING:
    from pathlib import Path

_VOID = {"meta", "img"}
_PHOTOGRAPH = np.full((4, 6, 3), (0, 0, 255), np.uint8)


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

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())


def _written(page: Page, folder: Path) -> str:
    page.write(folder / "page.html")
    return (folder / "page.html").read_text()


def test_every_page_has_the_same_order(tmp_path: Path) -> None:
    page = Page(
        title="Title",
        subject="What was judged",
        verdict="It is good.",
        figures=[
            KeyFigure("frames", 12_345, "9,000 before"),
            KeyFigure("share", 0.98765, "limit 0.9"),
            KeyFigure("time", float("nan"), "not timed"),
        ],
        command="compress run NAME.yaml",
        recipe="skill: pose",
        notes=["A note."],
    )
    page.facts("Made from", {"host": "desk"})
    page.table("Rows", [{"a": 1, "b": 2.5}, {"a": None, "c": "text"}], "How to read it.")
    page.table("Folded", [{"d": "inside"}], folded=True)
    page.table("Without rows", [])
    page.picture("Chart", bars_chart({"fp32": {"size": 2.0}}, "MB"))
    page.picture("Photograph", _PHOTOGRAPH, "As seen.")

    words = _Reader(_written(page, tmp_path)).words[2:]  # behind <title> and <style>

    head = ["Title", "What was judged", "It is good."]
    figures = ["12,345", "frames", "9,000 before", "0.988", "share", "limit 0.9"]
    figures += ["-", "time", "not timed"]
    pictures = ["Pictures", "Chart", "Photograph", "As seen."]
    tables = ["Tables", "Made from", "host", "desk", "Rows", "How to read it."]
    tables += ["a", "b", "c", "1", "2.50", "text", "Folded", "d", "inside"]
    end = ["How to repeat it", "compress run NAME.yaml", "The recipe", "skill: pose"]
    assert words == [*head, *figures, "A note.", *pictures, *tables, *end]


def test_pictures_are_inside_and_nothing_else_is_needed(tmp_path: Path) -> None:
    page = Page("t", "s", "v", [], "c")
    page.picture("Chart", bars_chart({"fp32": {"size": 2.0}}, "MB"))
    page.picture("Photograph", _PHOTOGRAPH)

    text = _written(page, tmp_path)

    sources = re.findall(r'src="data:image/([a-z+]+);base64,([^"]+)"', text)
    (_, chart), (_, photograph) = sources
    assert [kind for kind, _ in sources] == ["svg+xml", "jpeg"]
    assert b"<svg" in base64.b64decode(chart)
    data = np.frombuffer(base64.b64decode(photograph), np.uint8)
    assert np.abs(cv2.imdecode(data, cv2.IMREAD_COLOR).astype(int) - _PHOTOGRAPH).max() < 8
    assert not re.search(r"(src|href)=.(?!data:)|url\(|@import", text)


def test_text_is_shown_and_never_read_as_markup(tmp_path: Path) -> None:
    nasty = '<script>alert("&")</script>{{ 7 * 7 }}'
    figures = [KeyFigure(nasty, nasty, nasty)]
    page = Page(nasty, nasty, nasty, figures, nasty, recipe=nasty, notes=[nasty])
    page.table(nasty, [{nasty: nasty}], nasty)
    page.table(nasty, [{nasty: nasty}], nasty, folded=True)
    page.facts(nasty, {nasty: nasty})
    page.picture(nasty, _PHOTOGRAPH, nasty)

    text = _written(page, tmp_path)

    assert "<script" not in text
    assert _Reader(text).words.count(nasty) == 23
