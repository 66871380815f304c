"""The figures of runs, side by side, as text for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_replay.results import RunReport


def run_table(reports: Sequence[RunReport]) -> str:
    """Return figures as rows and runs as columns, aligned."""
    rows = figures(reports)
    cells = [[name, *(_written(value) for value in values)] for name, values in rows.items()]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in cells
    )


def figures(reports: Sequence[RunReport]) -> dict[str, list[object]]:
    """Return figure -> its value per run, None where a run does not have it."""
    columns = [_column(report) for report in reports]
    names = dict.fromkeys(name for column in columns for name in column)
    return {name: [column.get(name) for column in columns] for name in names}


def _column(report: RunReport) -> dict[str, object]:
    played = report.playback
    column: dict[str, object] = {
        "recording": recording_name(report),
        "rate": played.requested,
        "published [Hz]": played.published_hz,
        "answered": f"{played.answered} of {played.published}",
        "lost / dropped / rejected / failed": " / ".join(
            "?" if count is None else str(count)
            for count in (played.lost, played.dropped, played.rejected, played.failed)
        ),
    }
    if report.score is not None:
        column.update(report.score.metrics)
    for stage, values in report.latency_ms.items():
        column[f"{stage} p50 / p99 [ms]"] = f"{values['p50']:.2f} / {values['p99']:.2f}"
    column["node CPU [% of a core]"] = report.usage.cpu_percent
    column["node memory [MiB]"] = report.usage.rss_max_mib
    column["provider"] = report.node.get("provider")
    column["precision"] = report.node.get("precision")
    return column


def recording_name(report: RunReport) -> str:
    """Return the last part of its path."""
    return report.recording.path.rstrip("/").rpartition("/")[2]


def _written(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
