"""The page of a replay: its figures, charts and some frames with the answers drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image

from edge_replay.explanations import STAGES, metric_descriptions
from edge_replay.verdict import verdict
from edge_report.charts import curve_chart, latency_chart
from edge_report.page import Page
from edge_runtime.images import to_bgr

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from edge_replay.bags import Recording
    from edge_replay.protocol import Answers, ReplayableSkill, Score
    from edge_replay.results import RunReport

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
    type_ = CompressedImage if recording.compressed else Image
    pictures = []
    for index, frame in enumerate(recording.frames()):
        if frame.stamp in wanted:
            bgr = to_bgr(deserialize_message(frame.image, type_))
            picture = _narrowed(skill.draw(bgr, answers[frame.stamp]))
            pictures.append((f"frame {index}", picture))
            wanted.remove(frame.stamp)
        if not wanted:
            break
    return pictures


def write_page(path: Path, report: RunReport, pictures: list[tuple[str, NDArray[Any]]]) -> None:
    """Write report.html."""
    page = Page(
        f"{report.skill}: replay of {report.recording.path.rstrip('/').rpartition('/')[2]}",
        f"{report.created}, {report.host['name']}, rate {report.playback.requested}",
    )
    page.text(verdict(report))
    page.tiles(_headlines(report))
    for note in report.remarks:
        page.text(f"Note: {note}.")
    if report.score is not None:
        _add_score(page, report.score, metric_descriptions(report.skill))
    if pictures:
        page.section("Pictures")
        for caption, picture in pictures:
            page.image(caption, picture)
    _add_latency(page, report)
    _add_playback(page, report)
    page.section("Made from")
    page.facts(
        {
            **report.settings,
            "recording sha256": report.recording.sha256,
            "recording": f"{report.recording.images} images, {report.recording.seconds:.2f} s",
            **{f"input {role}": topic for role, topic in report.recording.topics.items()},
        }
    )
    page.facts({f"node {key}": value for key, value in report.node.items()})
    page.facts({**report.host, **report.tools})
    page.write(path)


def _headlines(report: RunReport) -> dict[str, object]:
    played = report.playback
    tiles: dict[str, object] = {}
    if report.score is not None and report.score.headline in report.score.metrics:
        tiles[report.score.headline] = report.score.metrics[report.score.headline]
    if "end to end" in report.latency_ms:
        tiles["end to end p50 [ms]"] = report.latency_ms["end to end"]["p50"]
        tiles["end to end p99 [ms]"] = report.latency_ms["end to end"]["p99"]
    if played.published_hz is not None:
        tiles["published [frames/s]"] = played.published_hz
    lost = played.published - played.answered
    tiles["frames lost"] = f"{lost} of {played.published} ({100 * played.lost_share:.1f} %)"
    tiles["node CPU [% of a core]"] = round(report.usage.cpu_percent)
    return tiles


def _add_score(page: Page, score: Score, descriptions: Mapping[str, str]) -> None:
    page.section("Accuracy")
    if score.labelled:
        page.text(f"{score.answered} of {score.labelled} labelled frames were answered.")
    rows = [
        {"metric": name, "value": value, "what it is": descriptions.get(name)}
        for name, value in score.metrics.items()
    ]
    if rows:
        page.table("Over the frames that were answered", rows)
    charts: dict[tuple[str, str], dict[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {}
    for curve in score.curves:
        lines = charts.setdefault((curve.x_label, curve.y_label), {})
        lines[curve.name] = (curve.x, curve.y)
    for (x_label, y_label), lines in charts.items():
        page.figure(
            f"{y_label} over {x_label}", curve_chart(lines, x_label, y_label, _limits(lines))
        )


def _limits(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
) -> tuple[float, float] | None:
    """Show shares on their whole scale, so that a good curve does not look like a bad one."""
    values = [value for _, y in lines.values() for value in y]
    return (0.0, 1.02) if values and 0.0 <= min(values) <= max(values) <= 1.0 else None


def _add_latency(page: Page, report: RunReport) -> None:
    page.section("Latency")
    if not report.latency_ms:
        page.text("No frame was answered.")
        return
    rows = [
        {"stage": stage, **values, "what it is": STAGES.get(stage)}
        for stage, values in report.latency_ms.items()
    ]
    page.table("Milliseconds per answered frame", rows)
    page.figure("Bars reach to the median", latency_chart(report.latency_ms))


def _add_playback(page: Page, report: RunReport) -> None:
    page.section("Rates and drops")
    played = report.playback
    unknown = "not reported by the node"
    page.facts(
        {
            "published": f"{played.published} frames{_at(played.published_hz)}",
            "answered": f"{played.answered} frames{_at(played.answered_hz)}, "
            f"{100 * played.lost_share:.1f} % lost",
            "lost on the way to the node": unknown if played.lost is None else played.lost,
            "dropped in the node": unknown if played.dropped is None else played.dropped,
            "rejected by the node": unknown if played.rejected is None else played.rejected,
            "failed in the node": unknown if played.failed is None else played.failed,
            "published late": played.late,
            "node CPU": f"{report.usage.cpu_percent:.0f} % of a core",
            "node memory": (
                f"{report.usage.rss_first_mib:.0f} MiB at the beginning, "
                f"{report.usage.rss_last_mib:.0f} MiB at the end, "
                f"{report.usage.rss_max_mib:.0f} MiB at most"
            ),
        }
    )
    if report.search:
        page.table(
            "Search for the highest rate with less than 5 % of the frames lost: short trials, then "
            "passes of full length until one held",
            [
                {"rate [Hz]": trial.rate_hz, "lost [%]": 100 * trial.dropped}
                for trial in report.search
            ],
        )


def _at(rate: float | None) -> str:
    return "" if rate is None else f" at {rate:.2f} Hz"


def _narrowed(bgr: NDArray[Any]) -> NDArray[Any]:
    height, width = bgr.shape[:2]
    if width <= _WIDEST:
        return bgr
    size = (_WIDEST, round(height * _WIDEST / width))
    return cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
