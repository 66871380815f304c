"""A report page: one HTML file that needs no network and no second file.

page = Page("pose: compression", "fp32 against int8, 2026-11-22")
page.tiles({"PCK@0.5": "0.993", "frames/s": "131"})
page.section("Latency")
page.table("Per stage, milliseconds", [{"stage": "engine", "p50": 4.1, "p95": 5.0}])
page.figure("Percentiles", latency_chart(percentiles))
page.write(directory / "report.html")
"""

from __future__ import annotations

import base64
import html
import math
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import cv2

from edge_report.style import STYLE
from edge_report.svg import inline_svg
from edge_runtime.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure
    from numpy.typing import NDArray


class Page:
    """Blocks in the order in which they are added; pictures added in a row form a grid."""

    def __init__(self, title: str, subtitle: str = "") -> None:
        """Begin a page; both texts are plain, not HTML."""
        self._title = title
        self._subtitle = subtitle
        self._blocks: list[str] = []
        self._pictures: list[str] = []

    def tiles(self, values: Mapping[str, object]) -> None:
        """Add the few figures that a reader came for: label -> value, set large."""
        cells = (
            f'<div class="tile"><b>{_shown(value)}</b><span>{_text(label)}</span></div>'
            for label, value in values.items()
        )
        self._add(f'<div class="tiles">{"".join(cells)}</div>')

    def section(self, heading: str) -> None:
        """Begin a section."""
        self._add(f"<h2>{_text(heading)}</h2>")

    def text(self, paragraph: str) -> None:
        """Add a paragraph."""
        self._add(f"<p>{_text(paragraph)}</p>")

    def facts(self, values: Mapping[str, object]) -> None:
        """Add name -> value lines: configuration, host, versions, hashes."""
        lines = (f"<dt>{_text(k)}</dt><dd>{_shown(v)}</dd>" for k, v in values.items())
        self._add(f"<dl>{''.join(lines)}</dl>")

    def table(
        self, caption: str, rows: Sequence[Mapping[str, object]], *, folded: bool = False
    ) -> None:
        """Add a table.

        Args:
            caption: stands above it; name the unit here.
            rows: column -> cell. Columns stand in the order in which rows first name them; None,
                or a column that a row lacks, leaves the cell empty.
            folded: only the caption is seen until the reader opens it.
        """
        columns = list(dict.fromkeys(column for row in rows for column in row))
        head = "".join(f"<th>{_text(column)}</th>" for column in columns)
        body = "".join(
            f"<tr>{''.join(_cell(row.get(column)) for column in columns)}</tr>" for row in rows
        )
        inside = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
        if folded:
            summary = f"<summary>{_text(caption)}</summary>"
            self._add(f'<details class="wide">{summary}<table>{inside}</table></details>')
        else:
            caption = f"<caption>{_text(caption)}</caption>"
            self._add(f'<div class="wide"><table>{caption}{inside}</table></div>')

    def figure(self, caption: str, figure: Figure) -> None:
        """Add a chart; those of `edge_report.charts` follow the reader's light or dark."""
        self._add(f"<figure>{inline_svg(figure)}<figcaption>{_text(caption)}</figcaption></figure>")

    def image(self, caption: str, bgr: NDArray[Any]) -> None:
        """Add a picture, (H, W, 3) uint8 BGR."""
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])
        source = base64.b64encode(data.tobytes()).decode()
        self._pictures.append(
            f'<figure><img alt="{_text(caption)}" src="data:image/jpeg;base64,{source}">'
            f"<figcaption>{_text(caption)}</figcaption></figure>"
        )

    def write(self, path: Path) -> None:
        """Write the page, whole or not at all."""
        self._close_grid()
        title, subtitle = _text(self._title), _text(self._subtitle)
        lead = f'<p class="lead">{subtitle}</p>' if subtitle else ""
        write_whole(
            path,
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="color-scheme" content="light dark">'
            f"<title>{title}</title><style>{STYLE}</style></head>"
            f"<body><main><header><h1>{title}</h1>{lead}</header>"
            f"{''.join(self._blocks)}</main></body></html>\n",
        )

    def _add(self, block: str) -> None:
        self._close_grid()
        self._blocks.append(block)

    def _close_grid(self) -> None:
        if self._pictures:
            self._blocks.append(f'<div class="grid">{"".join(self._pictures)}</div>')
            self._pictures = []


def _text(value: str) -> str:
    return html.escape(value)


def _cell(value: object) -> str:
    kind = ' class="number"' if isinstance(value, Real) else ""
    return f"<td{kind}>{'' if value is None else _shown(value)}</td>"


def _shown(value: object) -> str:
    """Give whole numbers grouped digits, others the digits that a reader can use."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return _text(str(value))
    if isinstance(value, Integral):
        return f"{int(value):,}"
    number = float(value)
    if not math.isfinite(number):
        return "-"
    if abs(number) >= 1000:  # noqa: PLR2004
        return f"{number:,.0f}"
    return f"{number:.3g}" if abs(number) < 1 else f"{number:.2f}"
