"""Runs side by side, as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_replay.summary import figures, recording_name
from edge_report.charts import bars_chart
from edge_report.page import Page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_replay.results import RunReport


def write_comparison(path: Path, reports: Sequence[RunReport]) -> None:
    """Write one page with the runs as columns, and their latencies as bars."""
    skills = " and ".join(dict.fromkeys(report.skill for report in reports))
    page = Page(f"{skills}: {len(reports)} replays compared")
    names = [
        f"{number}: {recording_name(report)}" for number, report in enumerate(reports, start=1)
    ]
    page.table(
        "Latencies in ms at the median and the 99th percentile",
        [
            {"": name, **dict(zip(names, values, strict=True))}
            for name, values in figures(reports).items()
            if name != "recording"
        ],
    )
    bars = {
        name: {key: report.latency_ms["end to end"][key] for key in ("p50", "p99")}
        for name, report in zip(names, reports, strict=True)
        if "end to end" in report.latency_ms
    }
    if bars:
        page.figure("End to end", bars_chart(bars, "ms"))
    for name, report in zip(names, reports, strict=True):
        page.section(name)
        page.facts({"created": report.created, **report.settings, **report.node, **report.host})
    page.write(path)
