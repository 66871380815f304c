"""Matplotlib figures as SVG inside the page, in the page's own colours and font.

Charts are drawn with the colours named here; on the way into the page they become references to
the CSS variables of `edge_report.style`, so that a chart follows the reader's light or dark.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.text import Text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#1c2329"
GRID = "#d5dbe0"
SERIES = ("#2563a8", "#d9822b", "#b3394b", "#3f8f6b", "#7a5aa6", "#6b7780")

_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_VARIABLES = {
    INK: "var(--ink)",
    GRID: "var(--grid)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, start=1)},
}


def plain_text(figure: Figure) -> None:
    """Show dollar signs of the figure's texts instead of reading them as formulas."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)


def inline_svg(figure: Figure) -> str:
    """Render the figure as an <svg> element without XML prologue and metadata."""
    text = io.StringIO()
    plain_text(figure)
    # The last setting is for texts that matplotlib makes while it draws.
    with mpl.rc_context(
        {"svg.fonttype": "none", "font.family": "sans-serif", "text.parse_math": False}
    ):
        figure.savefig(text, format="svg", transparent=True, metadata=_NO_METADATA)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg
