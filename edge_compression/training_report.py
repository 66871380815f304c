"""The page of `compress train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_compression.report_parts import add_metrics, exact, flat
from edge_compression.verdict import training_verdict

if TYPE_CHECKING:
    from pathlib import Path

    from edge_compression.results import TrainingReport


def render_training(report: TrainingReport, path: Path) -> None:
    """Write the page: how good the network became, its curves, then how it was made."""
    from edge_report.page import Page
    from edge_report.tuning import Turn, tuning_chart

    variant = report.variant
    page = Page(f"{report.name}: training", f"skill {report.skill}, {report.created}")
    page.text(f"{training_verdict(report)}.")
    page.tiles(
        {
            f"{report.headline}, held-out": exact(variant.accuracy[report.headline]),
            "parameters": variant.parameters,
            "million MACs": variant.macs / 1e6,
            "ms a run, median": variant.median,
        }
    )
    page.section("Curves")
    marked = "; above it on the validation split, a ring marks the best, which was kept"
    page.figure(
        f"Loss{marked if report.judgements else ''}",
        tuning_chart([Turn("", report.curve, report.judgements)], report.headline),
    )
    page.section("Accuracy")
    rows = [{"metric": name, "value": exact(value)} for name, value in variant.accuracy.items()]
    page.table("On held-out data", rows)
    add_metrics(page, report)
    page.section("How it was made")
    page.facts({"checkpoint": report.checkpoint_sha256, "recipe": report.recipe_sha256})
    page.facts(flat(report.recipe))
    page.facts({**report.host, **report.tools})
    page.write(path)
