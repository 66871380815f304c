"""The page of `compress evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_compression.report_parts import exact

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_compression.protocol import Picture
    from edge_compression.results import EvaluationReport

_MOST_TILES = 6


def rows(report: EvaluationReport) -> list[dict[str, object]]:
    """Return the table of figures, with what they mean."""
    found = []
    for name, value in report.metrics.items():
        row: dict[str, object] = {"metric": name, "value": exact(value)}
        if metric := report.explained.get(name):
            row |= {"unit": metric.unit, "better": metric.better, "what": metric.description}
        found.append(row)
    return found


def render_evaluation(
    report: EvaluationReport, path: Path, pictures: Sequence[Picture] = ()
) -> None:
    """Write the page: verdict and figures, pictures, tables, then how it was made."""
    from edge_report.page import Page

    page = Page(f"{report.skill}: evaluation", f"{report.trials} trials, {report.created}")
    page.text(f"{report.verdict}.")
    page.tiles({name: exact(report.metrics[name]) for name in [*report.metrics][:_MOST_TILES]})
    for caption, bgr in pictures:
        page.image(caption, bgr)
    page.section("Figures")
    page.table("All of them", rows(report))
    for caption, table in report.tables.items():
        page.table(caption, table)
    page.section("How it was made")
    page.facts({"bundle": report.bundle_digest or "none", **report.arguments})
    page.facts({**report.host, **report.tools})
    page.write(path)
