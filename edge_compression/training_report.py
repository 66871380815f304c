"""The page of `compress train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_compression.report_parts import add_metrics, exact, flat
from edge_compression.verdict import training_verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_compression.protocol import Picture
    from edge_compression.results import TrainingReport


def render_training(report: TrainingReport, path: Path, pictures: Sequence[Picture] = ()) -> None:
    """Write the page: how good the network became, its curves, then how it was made."""
    from edge_report.charts import curve_chart
    from edge_report.page import Page
    from edge_report.tuning import Turn, tuning_chart

    variant = report.variant
    page = Page(f"{report.name}: training", f"skill {report.skill}, {report.created}")
    page.text(f"{training_verdict(report)}.")
    page.tiles(
        {
            f"{report.primary_metric}, held-out": exact(variant.accuracy[report.primary_metric]),
            "parameters": variant.parameters,
            "million MACs": variant.macs / 1e6,
            "ms a run, median": variant.median,
        }
    )
    page.section("Curves")
    marked = "; above it on the validation split, a ring marks the best, which was kept"
    if report.curve:
        page.figure(
            f"Loss{marked if report.evaluations else ''}",
            tuning_chart([Turn("", report.curve, report.evaluations)], report.primary_metric),
        )
    for name, curve in report.curves.items():
        if curve:
            steps, values = zip(*curve, strict=True)
            page.figure(name.capitalize(), curve_chart({name: (steps, values)}, "step", name))
    page.section("Accuracy")
    rows = [{"metric": name, "value": exact(value)} for name, value in variant.accuracy.items()]
    page.table("On held-out data", rows)
    add_metrics(page, report)
    for caption, table in report.tables.items():
        page.table(caption, table)
    for caption, bgr in pictures:
        page.image(caption, bgr)
    page.section("How it was made")
    page.facts({"checkpoint": report.checkpoint_sha256, "recipe": report.recipe_sha256})
    page.facts(flat(report.recipe))
    page.facts({**report.host, **report.tools})
    page.write(path)
