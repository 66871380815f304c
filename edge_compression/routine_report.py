"""The page of `compress evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_compression.report_parts import exact
from edge_report.page import KeyFigure, Page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_compression.protocol import Picture
    from edge_compression.results import EvaluationReport

_MOST_FIGURES = 6  # at the head


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
    report: EvaluationReport, path: Path, command: str, pictures: Sequence[Picture] = ()
) -> None:
    """Write the page; `command` is the one that made it."""
    what = f"bundle {report.bundle_digest[:12]}" if report.bundle_digest else "no bundle"
    host = report.host.get("name", "an unnamed host")
    page = Page(
        title=f"{report.skill}: evaluation",
        subject=f"Skill {report.skill}, {what}, {report.trials} trials; {report.created} on {host}",
        verdict=f"{report.verdict}.",
        figures=[_key_figure(report, name) for name in [*report.metrics][:_MOST_FIGURES]],
        command=command,
    )
    for caption, bgr in pictures:
        page.picture(caption, bgr)
    page.table("All figures", rows(report))
    for caption, table in report.tables.items():
        page.table(caption, table)
    bundle = report.bundle_digest or "none"
    page.facts("Made from", {"bundle": bundle, **report.arguments, **report.host, **report.tools})
    page.write(path)


def _key_figure(report: EvaluationReport, name: str) -> KeyFigure:
    metric = report.explained.get(name)
    label = f"{name} [{metric.unit}]" if metric and metric.unit else name
    reference = f"{metric.better} is better" if metric else ""
    return KeyFigure(label, exact(report.metrics[name]), reference)
