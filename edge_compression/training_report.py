"""The page of `compress train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_compression.report_parts import add_training_curves, begin_page, end_page, exact
from edge_compression.verdict import training_verdict
from edge_report.charts import curve_chart
from edge_report.page import KeyFigure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_compression.protocol import Picture
    from edge_compression.results import TrainingReport


def render_training(report: TrainingReport, path: Path, pictures: Sequence[Picture] = ()) -> None:
    """Write the page: how good the network became, its curves, then how it was made."""
    variant = report.variant
    page = begin_page(
        path,
        report,
        "train",
        report.recipe,
        judged="the trained network on held-out data",
        verdict=training_verdict(report),
        figures=[
            KeyFigure(
                report.primary_metric,
                exact(variant.accuracy[report.primary_metric]),
                "held-out data",
            ),
            KeyFigure("parameters", variant.parameters, f"{variant.bytes / 1024:,.0f} KiB in fp32"),
            KeyFigure("million MACs", variant.macs / 1e6, "one run"),
            KeyFigure("ms a run, median", variant.median, "ONNX Runtime on this host"),
        ],
    )
    add_training_curves(page, report.primary_metric, {"": (report.curve, report.evaluations)})
    for name, curve in report.curves.items():
        if curve:
            steps, values = zip(*curve, strict=True)
            page.picture(name, curve_chart({name: (steps, values)}, "step", name))
    for caption, bgr in pictures:
        page.picture(caption, bgr)
    rows = [{"metric": name, "value": exact(value)} for name, value in variant.accuracy.items()]
    page.table("Metrics on held-out data", rows)
    for caption, table in report.tables.items():
        page.table(caption, table)
    source = {"checkpoint": report.checkpoint_sha256, "recipe": report.recipe_sha256}
    end_page(page, path, report, source)
