"""Runs side by side, as a page."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from edge_replay.explanations import STAGES, metric_descriptions
from edge_replay.metrics import END_TO_END
from edge_replay.summary import CPU, LATENCY, LOST, MARK, figures, recording_name, why_unmarked
from edge_replay.verdict import verdict
from edge_report.charts import bars_chart
from edge_report.page import KeyFigure, Page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edge_replay.results import RunReport


def write_comparison(
    path: Path, reports: Sequence[RunReport], names: Sequence[str], folders: Sequence[Path]
) -> None:
    """Write one page with the runs as columns under their names, and their latencies as bars.

    Args:
        path: of the page.
        reports: of the runs.
        names: of the runs.
        folders: where the reports were read.
    """
    rows = figures(reports)
    skills = " and ".join(dict.fromkeys(report.skill for report in reports))
    recordings = ", ".join(dict.fromkeys(map(recording_name, reports)))
    differences = why_unmarked(reports)
    page = Page(
        title=f"{skills}: {len(reports)} replays compared",
        subject=f"{', '.join(names)}; replays of {recordings}",
        verdict=comparison_verdict(rows, names, differences),
        figures=_key_figures(reports, rows, names),
        command=shlex.join(["replay", "compare", *map(str, folders), "--output", str(path)]),
    )
    bars = {
        name: {key: report.latency_ms[END_TO_END][key] for key in ("p50", "p99")}
        for name, report in zip(names, reports, strict=True)
        if END_TO_END in report.latency_ms
    }
    if bars:
        page.picture("End to end", bars_chart(bars, "ms"))
    page.facts("Run by run", dict(zip(names, map(verdict, reports), strict=True)))
    known = {LATENCY.format(stage): text for stage, text in STAGES.items()}
    for report in reports:
        known |= metric_descriptions(report.skill)
    page.table(
        "All figures",
        [
            {"": name, **dict(zip(names, values, strict=True)), "what it is": known.get(name)}
            for name, values in rows.items()
        ],
        "" if differences else f"{MARK} the better value.",
    )
    for name, report in zip(names, reports, strict=True):
        made = {"created": report.created, **report.settings, **report.node, **report.host}
        page.facts(f"{name} was made from", made)
    page.write(path)


def comparison_verdict(
    rows: Mapping[str, Sequence[str]], names: Sequence[str], differences: str | None
) -> str:
    """Say how many of the figures each run is better in.

    Args:
        rows: figure -> its text per run, as of `figures`.
        names: of the runs.
        differences: why the runs cannot be compared, None where they can.
    """
    if differences is not None:
        return f"Not to be ranked: {differences}."
    won = {
        name: sum(row[run].count(MARK) for row in rows.values()) for run, name in enumerate(names)
    }
    if not any(won.values()):
        return "No run is better in any figure."
    order = sorted(won, key=won.__getitem__, reverse=True)
    counts = ", ".join(f"{name} {won[name]}" for name in order)
    return f"Better values, of those that differ: {counts}."


def _key_figures(
    reports: Sequence[RunReport], rows: Mapping[str, Sequence[str]], names: Sequence[str]
) -> list[KeyFigure]:
    """Take the last run's figures, the others' as reference."""
    metrics = dict.fromkeys(report.score.primary_metric for report in reports if report.score)
    wanted = [*metrics, LATENCY.format(END_TO_END), LOST, CPU]
    return [
        KeyFigure(
            f"{name}, {names[-1]}",
            rows[name][-1],
            "; ".join(f"{run} {text}" for run, text in zip(names[:-1], rows[name], strict=False)),
        )
        for name in wanted
        if name in rows
    ]
