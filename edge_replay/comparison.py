"""Runs side by side, as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_replay.explanations import STAGES, metric_descriptions
from edge_replay.summary import MARK, figures, why_unmarked
from edge_replay.verdict import verdict
from edge_report.charts import bars_chart
from edge_report.page import Page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_replay.results import RunReport


def write_comparison(path: Path, reports: Sequence[RunReport], names: Sequence[str]) -> None:
    """Write one page with the runs as columns under their names, and their latencies as bars."""
    skills = " and ".join(dict.fromkeys(report.skill for report in reports))
    page = Page(f"{skills}: {len(reports)} replays compared")
    page.facts({name: verdict(report) for name, report in zip(names, reports, strict=True)})
    page.table(
        f"{why_unmarked(reports) or f'{MARK} the better value'}; latencies in ms at the median and "
        "the 99th percentile",
        [
            {"": name, **dict(zip(names, values, strict=True))}
            for name, values in figures(reports).items()
        ],
    )
    bars = {
        name: {key: report.latency_ms["end to end"][key] for key in ("p50", "p99")}
        for name, report in zip(names, reports, strict=True)
        if "end to end" in report.latency_ms
    }
    if bars:
        page.figure("End to end", bars_chart(bars, "ms"))
    page.section("What the figures are")
    page.facts(_explained(reports))
    for name, report in zip(names, reports, strict=True):
        page.section(name)
        page.facts({"created": report.created, **report.settings, **report.node, **report.host})
    page.write(path)


def _explained(reports: Sequence[RunReport]) -> dict[str, str]:
    lines: dict[str, str] = {}
    for report in reports:
        if report.score is not None:
            known = metric_descriptions(report.skill)
            lines |= {name: known[name] for name in report.score.metrics if name in known}
    stages = dict.fromkeys(stage for report in reports for stage in report.latency_ms)
    return lines | {stage: STAGES[stage] for stage in stages if stage in STAGES}
