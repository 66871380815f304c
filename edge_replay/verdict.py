"""Whether a replay went well, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_replay.metrics import END_TO_END
from edge_replay.playback import ALLOWED_DROPS

if TYPE_CHECKING:
    from edge_replay.results import Playback, RunReport

_MAJORITY = 0.5


def verdict(report: RunReport) -> str:
    """Say whether the node kept up, how late its answers were, and how good."""
    played = report.playback
    if not played.answered:
        return f"Answers nothing: {played.published} frames published, 100 % lost{_cause(played)}."
    word = "Keeps up" if played.lost_share < ALLOWED_DROPS else "Loses frames"
    return f"{word}: {'; '.join([_losses(played), *_latency(report), *_accuracy(report)])}."


def _losses(played: Playback) -> str:
    rate = "" if played.published_hz is None else f" at {played.published_hz:.1f} Hz"
    if played.answered == played.published:
        return f"all {played.published} frames answered{rate}"
    return (
        f"{100 * played.lost_share:.1f} % of {played.published} frames lost{rate}"
        f"{_cause(played)}, less than {100 * ALLOWED_DROPS:.0f} % are allowed"
    )


def _cause(played: Playback) -> str:
    """Name what most of the lost frames have in common."""
    causes = {
        "on the way to the node": played.lost,
        "in the node, which was busy": played.dropped,
        "refused by the node as bad input": played.rejected,
        "failed in the node": played.failed,
    }
    count = played.published - played.answered
    for cause, lost in causes.items():
        if lost is not None and lost > _MAJORITY * count:
            return f", most of them {cause}"
    return ""


def _latency(report: RunReport) -> list[str]:
    if END_TO_END not in report.latency_ms:
        return []
    times = report.latency_ms[END_TO_END]
    return [
        f"answers after {times['p50']:.1f} ms (median), {times['p99']:.1f} ms (99th percentile)"
    ]


def _accuracy(report: RunReport) -> list[str]:
    score = report.score
    if score is None or score.primary_metric not in score.metrics:
        return []
    said = f"{score.primary_metric} {score.metrics[score.primary_metric]:.3f}"
    over = f" over {score.answered} of {score.labelled} labelled frames" if score.labelled else ""
    return [said + over]
