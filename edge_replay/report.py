"""The page of a replay: its figures, charts and some frames with the answers drawn."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import cv2

from edge_replay.decoding import decoded
from edge_replay.explanations import STAGES, metric_descriptions
from edge_replay.metrics import END_TO_END
from edge_replay.playback import ALLOWED_DROPS
from edge_replay.summary import playback_figures, recording_name
from edge_replay.verdict import verdict
from edge_report.charts import curve_chart, latency_chart
from edge_report.page import KeyFigure, Page

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from edge_replay.bags import Recording
    from edge_replay.protocol import Answers, ReplayableSkill, Score
    from edge_replay.results import RunReport

    Lines = dict[str, tuple[tuple[float, ...], tuple[float, ...]]]

_SIGNS = {"topic": "=", "param": ":="}  # of the command's options
_PICTURES = 6
_WIDEST = 960


def example_pictures(
    skill: ReplayableSkill, recording: Recording, answers: Mapping[int, Answers]
) -> list[tuple[str, NDArray[Any]]]:
    """Draw answers on some frames of the recording, evenly spread.

    Args:
        skill: draws.
        recording: read again for its images.
        answers: recorded stamp [ns] -> output topic -> message.

    Returns:
        (caption, BGR picture) in recorded order.
    """
    stamps = sorted(answers)
    step = max(1, -(-len(stamps) // _PICTURES))
    wanted = set(stamps[::step])
    pictures = []
    for index, frame in enumerate(recording.frames()):
        if frame.stamp in wanted:
            bgr = decoded(recording, frame, skill.node.inputs[0].topic)
            if bgr is not None:
                picture = _narrowed(skill.draw(bgr, answers[frame.stamp]))
                pictures.append((f"frame {index}", picture))
            wanted.remove(frame.stamp)
        if not wanted:
            break
    return pictures


def write_page(path: Path, report: RunReport, pictures: list[tuple[str, NDArray[Any]]]) -> None:
    """Write report.html."""
    recording = report.recording
    page = Page(
        title=f"{report.skill}: replay of {recording_name(report)}",
        subject=(
            f"The node with bundle {report.node.get('bundle', 'unknown')} on {recording.images} "
            f"recorded images, {recording.seconds:.1f} s, at rate {report.playback.requested}; "
            f"{report.created} on {report.host['name']}"
        ),
        verdict=verdict(report),
        figures=list(_key_figures(report)),
        command=_command(report.skill, report.settings),
        notes=[f"Note: {note}." for note in report.remarks],
    )
    for caption, picture in pictures:
        page.picture(caption, picture)
    if report.score is not None:
        _add_score(page, report.score, metric_descriptions(report.skill))
    if report.latency_ms:
        page.picture("Latency of answered frames", latency_chart(report.latency_ms))
    page.table(
        "Latency of answered frames, ms",
        [
            {"stage": stage, **values, "what it is": STAGES.get(stage)}
            for stage, values in report.latency_ms.items()
        ],
    )
    page.facts("Rates, drops and resources", playback_figures(report))
    page.table(
        "Search for the highest rate with less than 5 % of the frames lost",
        [{"rate [Hz]": step.rate_hz, "lost [%]": 100 * step.dropped} for step in report.search],
        "Short trials, then passes of full length until one held.",
    )
    page.facts(
        "Made from",
        {
            "recording sha256": recording.sha256,
            **{f"input {role}": topic for role, topic in recording.topics.items()},
            **{f"node {key}": value for key, value in report.node.items()},
            **report.host,
            **report.tools,
        },
    )
    page.write(path)


def _command(skill: str, settings: Mapping[str, str]) -> str:
    """Return the command that plays the same again, into another folder."""
    words = ["replay", "run", "--skill", skill]
    for name, value in settings.items():
        option, _, key = name.partition(" ")  # "rate", "topic image", "param provider"
        words += [f"--{option}", f"{key}{_SIGNS[option]}{value}" if key else value]
    return shlex.join([*words, "--output", "output/replay_again"])


def _key_figures(report: RunReport) -> Iterable[KeyFigure]:
    played, score, usage = report.playback, report.score, report.usage
    if score is not None and score.primary_metric in score.metrics:
        over = f"{score.answered} of {score.labelled} labelled frames answered"
        value = score.metrics[score.primary_metric]
        yield KeyFigure(score.primary_metric, value, over if score.labelled else "the whole run")
    if END_TO_END in report.latency_ms:
        times = report.latency_ms[END_TO_END]
        yield KeyFigure("ms end to end, median", times["p50"], f"{times['p99']:.1f} ms at p99")
    if played.published_hz is not None:
        yield KeyFigure("frames/s published", played.published_hz, f"rate {played.requested}")
    yield KeyFigure(
        "of the frames lost",
        f"{100 * played.lost_share:.1f} %",
        f"{played.published - played.answered} of {played.published}; "
        f"less than {100 * ALLOWED_DROPS:.0f} % are allowed",
    )
    memory = f"of a core; at most {usage.rss_max_mib:.0f} MiB"
    yield KeyFigure("node CPU", f"{usage.cpu_percent:.0f} %", memory)


def _add_score(page: Page, score: Score, descriptions: Mapping[str, str]) -> None:
    charts: dict[tuple[str, str], Lines] = {}
    for curve in score.curves:
        charts.setdefault((curve.x_label, curve.y_label), {})[curve.name] = (curve.x, curve.y)
    for (x_label, y_label), lines in charts.items():
        chart = curve_chart(lines, x_label, y_label, y_limits=_limits(lines))
        page.picture(f"{y_label} over {x_label}", chart)
    page.table(
        "Metrics over the frames that were answered",
        [
            {"metric": name, "value": value, "what it is": descriptions.get(name)}
            for name, value in score.metrics.items()
        ],
    )


def _limits(lines: Lines) -> tuple[float, float] | None:
    """Show shares on their whole scale, so that a good curve does not look like a bad one."""
    values = [value for _, y in lines.values() for value in y]
    return (0.0, 1.02) if values and 0.0 <= min(values) <= max(values) <= 1.0 else None


def _narrowed(bgr: NDArray[Any]) -> NDArray[Any]:
    height, width = bgr.shape[:2]
    if width <= _WIDEST:
        return bgr
    size = (_WIDEST, round(height * _WIDEST / width))
    return cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
