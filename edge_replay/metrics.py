"""From what was sent and received to counts, latency percentiles and answers to score."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_replay.cdr import stamp_of
from edge_replay.protocol import NodeMessage
from edge_replay.results import Playback

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edge_replay.link import Link
    from edge_replay.playback import Pass

END_TO_END = "end to end"
OUTSIDE = "outside node"
OVERHEAD = "overhead"
INCOMPLETE = "incomplete: "
"""Prefix of the diagnostics' counts of frames answered without an optional input, by reason."""

_TOTAL = "total"


def latency_percentiles(
    played: Pass, link: Link, work_stages: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return stage -> p50 p95 p99 max in ms, over the answered frames.

    The node's own stages come from its latency topic, in its order. Those that are made of
    several times ("outside node", "overhead") are made frame by frame: percentiles do not add up.
    """
    samples: dict[str, list[float]] = {END_TO_END: [], OUTSIDE: [], OVERHEAD: []}
    latencies = played.latencies()
    samples[END_TO_END] += latencies.values()
    for received in played.received:
        if received.topic != link.latency_topic:
            continue
        stages = _stages(link.decode(received))
        whole = latencies.get(stamp_of(received.message))
        if whole is not None and _TOTAL in stages:
            samples[OUTSIDE].append(whole - stages[_TOTAL])
        # A frame without one of these stages would pass its time off as overhead.
        if _TOTAL in stages and stages.keys() >= set(work_stages):
            work = sum(stages[stage] for stage in work_stages)
            samples[OVERHEAD].append(stages[_TOTAL] - work)
        for stage, value in stages.items():
            samples.setdefault(stage, []).append(value)
    return {stage: _percentiles(values) for stage, values in samples.items() if values}


def count(
    played: Pass, requested: str, before: Mapping[str, str], after: Mapping[str, str]
) -> Playback:
    """Say what became of the frames.

    Args:
        played: the measured pass.
        requested: the rate asked for, for the report.
        before: values of the node's diagnostics, their counters running since its start; empty
            where the node sends none.
        after: the same after the pass.
    """
    grown = {
        key: int(after[key]) - int(before.get(key, 0))
        for key in ("received", "dropped", "rejected", "failed")
        if key in after
    }
    published = len(played.sent)
    several = published > 1
    received = grown.get("received")
    return Playback(
        requested=requested,
        seconds=played.seconds,
        published_hz=played.rate if several else None,
        answered_hz=len(played.answers) / played.seconds if several else None,
        published=published,
        answered=len(played.answers),
        received=received,
        lost=None if received is None else published - received,
        dropped=grown.get("dropped"),
        rejected=grown.get("rejected"),
        failed=grown.get("failed"),
        late=played.late,
    )


def incomplete(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, int]:
    """Return how many frames were answered without an optional input that came, by the reason.

    Args:
        before: values of the node's diagnostics before the measured pass.
        after: the same after the pass.
    """
    grown = {
        key.removeprefix(INCOMPLETE): int(value) - int(before.get(key, 0))
        for key, value in after.items()
        if key.startswith(INCOMPLETE)
    }
    return {reason: frames for reason, frames in grown.items() if frames}


def answers_by_frame(played: Pass, link: Link) -> list[tuple[int, dict[str, Any]]]:
    """Return (recorded stamp [ns], output topic -> message) per answered frame, as played.

    Of a frame that was played several times, the first answer.
    """
    wanted: dict[int, int] = {}
    answered = set()
    for sent in played.sent:
        if sent.stamp in played.answers and sent.recorded_stamp not in answered:
            answered.add(sent.recorded_stamp)
            wanted[sent.stamp] = sent.recorded_stamp
    answers: dict[int, dict[str, Any]] = {recorded: {} for recorded in wanted.values()}
    for received in played.received:
        recorded = wanted.get(stamp_of(received.message))
        if recorded is not None and received.topic != link.latency_topic:
            answers[recorded][received.topic] = link.decode(received)
    return list(answers.items())


def node_messages(played: Pass, link: Link) -> list[NodeMessage]:
    """Return all messages of the node's outputs, with the stamps of the recording."""
    frames = {sent.stamp: sent for sent in played.sent}
    messages = []
    for received in played.received:
        if received.topic == link.latency_topic:
            continue
        stamp = stamp_of(received.message)
        frame = frames.get(stamp)
        turn, recorded = (frame.turn, frame.recorded_stamp) if frame else (None, stamp)
        decode = partial(link.decode, received)
        messages.append(NodeMessage(received.topic, turn, recorded, decode))
    return messages


def _stages(message: Any) -> dict[str, float]:  # noqa: ANN401 (DiagnosticArray, imported nowhere here)
    return {value.key: float(value.value) for status in message.status for value in status.values}


def _percentiles(values: Iterable[float]) -> dict[str, float]:
    sample = np.fromiter(values, dtype=np.float64)
    p50, p95, p99 = np.percentile(sample, (50, 95, 99))
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99), "max": float(sample.max())}
