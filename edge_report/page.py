"""A report: one HTML file that needs no network and no second file.

All have the same order: what was judged, the verdict in one sentence, the few figures that it rests
on, each beside its reference; then pictures, tables, and the command that repeats it.

page = Page(
    title="arm: evaluation",
    subject="bundle arm on 200 held-out images, 2026-11-22",
    verdict="PCK@0.5 0.993, within the limit.",
    figures=[KeyFigure("PCK@0.5", 0.993, "0.995 before compression")],
    command="compress evaluate pose --bundle models/arm",
)
page.picture("Latency", latency_chart(percentiles))
page.table("Latency in ms", [{"stage": "engine", "p50": 4.1, "p95": 5.0}])
page.write(directory / "report.html")
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from edge_runtime.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_TEMPLATE = "page.html"
_JPEG_QUALITY = 88
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


class KeyFigure(NamedTuple):
    """One of the three to six figures at the head.

    Attributes:
        label: what it is, with its unit.
        value: a text, or a number, which is rounded to the digits that a reader can use.
        reference: what to compare it with, such as "0.995 before compression".
    """

    label: str
    value: object
    reference: str


class _Picture(NamedTuple):
    title: str
    note: str
    source: str
    chart: bool


class _Table(NamedTuple):
    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    folded: bool


@dataclass
class Page:
    """What a report says; every text is plain, not HTML.

    Attributes:
        title: of the page.
        subject: what was judged: the network, bundle or run, on which data, when and where.
        verdict: one sentence.
        figures: that the verdict rests on.
        command: repeats what was judged.
        recipe: the file that the command reads, where it reads one.
        notes: sentences to be read before the figures are trusted.
        pictures: as `picture` adds them.
        tables: as `table` and `facts` add them.
    """

    title: str
    subject: str
    verdict: str
    figures: Sequence[KeyFigure]
    command: str
    recipe: str = ""
    notes: list[str] = field(default_factory=list)
    pictures: list[_Picture] = field(default_factory=list, init=False)
    tables: list[_Table] = field(default_factory=list, init=False)

    def picture(self, title: str, picture: Figure | NDArray[Any], note: str = "") -> None:
        """Add a chart of `edge_report.charts`, or a photograph, (H, W, 3) uint8 BGR."""
        chart = isinstance(picture, Figure)
        source = _svg(picture) if isinstance(picture, Figure) else _jpeg(picture)
        self.pictures.append(_Picture(title, note, source, chart))

    def table(
        self,
        title: str,
        rows: Sequence[Mapping[str, object]],
        note: str = "",
        *,
        folded: bool = False,
    ) -> None:
        """Add a table; one without rows is left out.

        Args:
            title: stands above it; name the unit here.
            rows: column -> cell. Columns stand in the order in which rows first name them; None,
                or a column that a row lacks, leaves the cell empty.
            note: how to read it.
            folded: only the title is seen until the reader opens it.
        """
        columns = list(dict.fromkeys(column for row in rows for column in row))
        cells = [[row.get(column) for column in columns] for row in rows]
        if cells:
            self.tables.append(_Table(title, note, columns, cells, folded))

    def facts(self, title: str, values: Mapping[str, object]) -> None:
        """Add a table of names and values: host, versions, hashes."""
        if values:
            self.tables.append(_Table(title, "", (), list(values.items()), folded=False))

    def write(self, path: Path) -> None:
        """Write the page, whole or not at all."""
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            undefined=StrictUndefined,
        )
        environment.filters["readable"] = readable
        write_whole(path, environment.get_template(_TEMPLATE).render(page=self))


def _svg(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
    return _embedded("image/svg+xml", file.getvalue())


def _jpeg(bgr: NDArray[Any]) -> str:
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return _embedded("image/jpeg", data.tobytes())


def _embedded(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def readable(value: object) -> str:
    """Give whole numbers grouped digits, others the digits that a reader can use."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, Real):
        return str(value)
    if isinstance(value, Integral):
        return f"{int(value):,}"
    number = float(value)
    if not math.isfinite(number):
        return "-"
    if abs(number) >= 1000:  # noqa: PLR2004
        return f"{number:,.0f}"
    return f"{number:.3g}" if abs(number) < 1 else f"{number:.2f}"
