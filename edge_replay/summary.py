"""The figures of runs, side by side, as text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_replay.results import REPORT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edge_replay.protocol import Better
    from edge_replay.results import RunReport

MARK = "*"
"""Stands behind the better one of several values."""
LOST = "lost [% of the frames]"
CPU = "node CPU [% of a core]"
LATENCY = "{} p50 / p99 [ms]"
"""Name of the figure of a stage."""

_MS_DIGITS = 2
_DIGITS = 3


@dataclass(frozen=True)
class _Figure:
    """One cell: parts that are shown with a slash between them, and how to compare each."""

    parts: tuple[object, ...]
    better: Better | None = None
    digits: int = _DIGITS

    def texts(self) -> list[str]:
        return [_written(part, self.digits) for part in self.parts]


def run_table(reports: Sequence[RunReport], names: Sequence[str] | None = None) -> str:
    """Return figures as rows and runs as columns, aligned, under the runs' names if there are."""
    cells = [[name, *values] for name, values in figures(reports).items()]
    if names is not None:
        cells.insert(0, ["run", *names])
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in cells
    )


def figures(reports: Sequence[RunReport]) -> dict[str, list[str]]:
    """Return figure -> its text per run, the better one with a `MARK`; "-" where there is none."""
    columns = [_column(report) for report in reports]
    marked = why_unmarked(reports) is None
    table = {}
    for name in dict.fromkeys(name for column in columns for name in column):
        row = [column.get(name) for column in columns]
        table[name] = _texts(row, marked=marked)
    return table


def why_unmarked(reports: Sequence[RunReport]) -> str | None:
    """Say why none of the runs is better than another; None where they can be compared."""
    same = {
        "skill": {report.skill for report in reports},
        "recording": {report.recording.sha256 for report in reports},
        "rate": {report.playback.requested for report in reports},
    }
    differences = [name for name, values in same.items() if len(values) > 1]
    if differences:
        return f"no value is marked as better: the runs differ in {' and '.join(differences)}"
    return None


def run_names(reports: Sequence[RunReport], paths: Sequence[Path]) -> list[str]:
    """Name runs by their folder and bundle; with more of the path where folders have one name.

    Args:
        reports: of the runs.
        paths: where each was read: the file or its folder.
    """
    whole = [path.resolve() for path in paths]
    folders = [path.parent if path.name == REPORT else path for path in whole]
    names = _told_apart(
        [folder.name for folder in folders],
        [f"{folder.parent.name}/{folder.name}" for folder in folders],
    )
    for place, report in enumerate(reports):
        if bundle := report.node.get("bundle"):
            names[place] += f" ({bundle})"
    return _told_apart(names, [f"{number}: {name}" for number, name in enumerate(names, start=1)])


def _told_apart(names: list[str], longer: list[str]) -> list[str]:
    """Take the longer name where several have the same one."""
    counts = Counter(names)
    return [more if counts[name] > 1 else name for name, more in zip(names, longer, strict=True)]


def playback_figures(report: RunReport) -> dict[str, str]:
    """Return figure -> text of what the run took; metrics and latencies are not among them."""
    return {name: " / ".join(figure.texts()) for name, figure in _playback(report).items()}


def _column(report: RunReport) -> dict[str, _Figure]:
    column = _playback(report)
    if report.score is not None:
        for name, value in report.score.metrics.items():
            column[name] = _Figure((value,), report.score.better.get(name))
    for stage, values in report.latency_ms.items():
        times = (values["p50"], values["p99"])
        column[LATENCY.format(stage)] = _Figure(times, "lower", _MS_DIGITS)
    return column


def _playback(report: RunReport) -> dict[str, _Figure]:
    played, usage = report.playback, report.usage
    searched = played.requested == "max"
    return {
        "recording": _Figure((recording_name(report),)),
        "rate": _Figure((played.requested,)),
        "published [Hz]": _Figure((played.published_hz,), "higher" if searched else None),
        "published late": _Figure((played.late,), "lower"),
        "answered": _Figure((f"{played.answered} of {played.published}",)),
        LOST: _Figure((100 * played.lost_share,), "lower", 1),
        "lost on the way / dropped / rejected / failed": _Figure(
            (played.lost, played.dropped, played.rejected, played.failed), "lower"
        ),
        CPU: _Figure((usage.cpu_percent,), "lower", 1),
        "node memory, first / last / most [MiB]": _Figure(
            (usage.rss_first_mib, usage.rss_last_mib, usage.rss_max_mib), "lower", 0
        ),
        "provider": _Figure((_of_engines(report.node, "provider"),)),
        "precision": _Figure((_of_engines(report.node, "precision"),)),
    }


def _of_engines(node: Mapping[str, str], key: str) -> str | None:
    """Return what the diagnostics say of the engines: once where all of them agree."""
    values = {
        name.removesuffix(key).strip(): value
        for name, value in node.items()
        if f" {name}".endswith(f" {key}")
    }
    if len(set(values.values())) < 2:  # noqa: PLR2004 - to differ
        return next(iter(values.values()), None)
    return ", ".join(f"{model}: {value}" for model, value in values.items())


def recording_name(report: RunReport) -> str:
    """Return the last part of its path."""
    return report.recording.path.rstrip("/").rpartition("/")[2]


def _texts(row: Sequence[_Figure | None], *, marked: bool) -> list[str]:
    """Write the cells of one figure."""
    texts = [figure.texts() if figure else ["-"] for figure in row]
    known = [figure for figure in row if figure is not None]
    for place in range(len(known[0].parts)):
        best = _best(known, place) if marked else None
        for figure, text in zip(row, texts, strict=True):
            if figure is not None and text[place] == best:
                text[place] += MARK
    return [" / ".join(text) for text in texts]


def _best(row: Sequence[_Figure], place: int) -> str | None:
    """Return the text of the best value at a place of each cell; None where all read the same."""
    better = row[0].better
    numbers = {
        text[place]: part
        for text, part in ((figure.texts(), figure.parts[place]) for figure in row)
        if isinstance(part, (int, float))
    }
    if better is None or len(numbers) < 2:  # noqa: PLR2004 - to compare
        return None
    return (max if better == "higher" else min)(numbers, key=lambda text: float(numbers[text]))


def _written(value: object, digits: int) -> str:
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)
