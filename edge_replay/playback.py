"""Playing frames into the node: at the recording's pace, at a fixed rate, at the highest rate."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from edge_replay.cdr import stamp_of
from edge_replay.node_process import NodeError
from edge_replay.results import Trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edge_replay.bags import Frame
    from edge_replay.link import Link, Received
    from edge_replay.node_process import NodeProcess

HELD_BYTES = 512 * 1024**2
"""Frames that are played over and over are kept in memory, up to this size."""

ALLOWED_DROPS = 0.05
_TRIAL_SECONDS = 2.0
_TRIAL_FRAMES = 20
_PRECISION = 1.05
_STEP = 1.4
_LOWEST_HZ = 0.1
_FIRST_ANSWER_SECONDS = 10.0
_USUAL_ANSWER_SECONDS = 0.2
_KEEPING_UP = 0.95
_READ_AHEAD = 8
_SECOND = 1_000_000_000
_LONE_FRAME_GAP = _SECOND // 30


@dataclass(frozen=True)
class Sent:
    """One frame as it went out: stamps in ns, time as perf_counter_ns before its publication."""

    stamp: int
    recorded_stamp: int
    time: int


@dataclass
class Pass:
    """What one pass published and what came back.

    Attributes:
        late: frames that went out more than half a period after their time.
        answers: published stamp -> the first answer's time, perf_counter_ns.
    """

    sent: list[Sent] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    answers: dict[int, int] = field(default_factory=dict)
    late: int = 0

    @property
    def seconds(self) -> float:
        """From the first publication to the last, plus one mean period."""
        if len(self.sent) < 2:  # noqa: PLR2004
            return _LONE_FRAME_GAP / _SECOND
        span = (self.sent[-1].time - self.sent[0].time) / _SECOND
        return span * len(self.sent) / (len(self.sent) - 1)

    @property
    def rate(self) -> float:
        """Frames per second as they really went out."""
        return len(self.sent) / self.seconds

    @property
    def dropped(self) -> float:
        """Share of the frames without an answer."""
        return 1.0 - len(self.answers) / len(self.sent)

    @property
    def trial(self) -> Trial:
        """What a search keeps of it."""
        return Trial(rate_hz=self.rate, dropped=self.dropped)

    def holds(self, rate: float) -> bool:
        """Whether it really went out at this rate, with less than `ALLOWED_DROPS` unanswered."""
        return self.dropped < ALLOWED_DROPS and self.rate > rate * _KEEPING_UP

    def latencies(self) -> dict[int, float]:
        """Published stamp -> milliseconds from publishing to the answer."""
        begun = {sent.stamp: sent.time for sent in self.sent}
        return {stamp: (end - begun[stamp]) / 1e6 for stamp, end in self.answers.items()}


class Player:
    """Plays into one running node. Stamps only ever rise: every repetition moves them on."""

    def __init__(self, link: Link, node: NodeProcess) -> None:
        """Play through `link`, watching that `node` lives."""
        self._link = link
        self._node = node
        self._offset = 0
        self._slowest: float | None = None

    def announce(self, frame: Frame, roles: Sequence[str]) -> None:
        """Publish a frame's camera infos alone: the node must know them before the first image."""
        self._link.publish(frame, 0, roles)

    def once(self, frames: Iterable[Frame], rate: float | None, total: int) -> Pass:
        """Play every frame once, at `rate` Hz, or as recorded (None)."""
        return self._play(_schedule(_read_ahead(frames), rate), total)

    def repeatedly(self, held: Sequence[Frame], rate: float | None, seconds: float) -> Pass:
        """Play for so long, beginning again at the end of those held; at least one frame."""
        stamps, times = _spans(held)
        pace = rate or len(held) * _SECOND / times
        count = max(1, round(seconds * pace))
        result = self._play(_schedule(_cycle(held, count, self._offset), rate), count)
        self._offset += -(-count // len(held)) * stamps
        return result

    def highest_rate(self, held: Sequence[Frame]) -> tuple[float, list[Trial]]:
        """Search the highest rate [Hz] that holds in short trials, and how it was found.

        Raises by steps until too many frames are dropped, then halves the interval until it is
        narrower than 5 %. Ends early where this process cannot publish any faster.

        Raises:
            NodeError: not one frame of a first, slow pass is answered: there is nothing to search.
        """
        trials: list[Trial] = []

        def holds(rate: float) -> bool:
            result = self.repeatedly(held, rate, max(_TRIAL_SECONDS, _TRIAL_FRAMES / rate))
            trials.append(result.trial)
            return result.holds(rate)

        first = self.repeatedly(held, rate=5.0, seconds=1.0)
        if not first.answers:
            raise NodeError(self._unanswered(len(first.sent)))
        typical = float(np.median(list(first.latencies().values())))
        low, high = 0.0, 1000.0 / typical
        while holds(high):
            low, high = high, high * _STEP
        while low == 0.0 and high > _LOWEST_HZ:
            lower = high / _STEP
            low, high = (lower, high) if holds(lower) else (0.0, lower)
        while low and high / low > _PRECISION:
            middle = (low * high) ** 0.5
            low, high = (middle, high) if holds(middle) else (low, middle)
        return low or high, trials

    def _unanswered(self, frames: int) -> str:
        counts = self._link.diagnostics()
        said = ", ".join(
            f"{name} {count}"
            for name, count in counts.items()
            if name in {"received", "rejected", "failed"}
        )
        return (
            f"the node answered none of the first {frames} frames "
            f"({said or 'it sends no diagnostics'}), so there is no highest rate to search: "
            f"the reason stands in {self._node.log}"
        )

    def _play(self, schedule: Iterable[tuple[Frame, int, float, float]], total: int) -> Pass:
        result = Pass()
        self._link.take()
        begin: float | None = None
        for frame, shift, due, period in tqdm(
            schedule, total=total, unit="frame", desc="playing", leave=False, disable=None
        ):
            # Time begins with the first frame, not with the opening of the bag that it comes from.
            begin = time.perf_counter() if begin is None else begin
            if (ahead := begin + due - time.perf_counter()) > 0:
                time.sleep(ahead)
            result.late += ahead < -period / 2
            result.sent.append(Sent(frame.stamp + shift, frame.stamp, time.perf_counter_ns()))
            self._link.publish(frame, shift)
            self._node.check()
        self._collect(result)
        return result

    def _collect(self, result: Pass) -> None:
        """Wait until all frames are answered, or nothing comes for longer than an answer takes.

        The first answer of a node may take long: then the network's libraries set themselves up.
        """
        stamps = {sent.stamp for sent in result.sent}
        quiet_since = time.monotonic()
        while len(result.answers) < len(stamps):
            arrived = self._link.take()
            for received in arrived:
                stamp = stamp_of(received.message)
                if received.topic != self._link.latency_topic and stamp in stamps:
                    result.answers.setdefault(stamp, received.time)
            result.received += arrived
            if arrived:
                quiet_since = time.monotonic()
            if result.answers:
                slowest = max(result.latencies().values()) / 1e3
                self._slowest = max(self._slowest or _USUAL_ANSWER_SECONDS, slowest)
            usual = self._slowest and 1.0 + 3 * self._slowest
            if time.monotonic() - quiet_since > (usual or _FIRST_ANSWER_SECONDS):
                break
            self._node.check()
            time.sleep(0.01)
        # The latency message of the last frame follows its answer.
        time.sleep(0.1)
        result.received += self._link.take()


def hold(frames: Iterable[Frame]) -> list[Frame]:
    """Keep frames from the beginning of a recording in memory, up to `HELD_BYTES`."""
    held: list[Frame] = []
    size = 0
    for frame in frames:
        size += frame.size
        if held and size > HELD_BYTES:
            break
        held.append(frame)
    return held


def _spans(held: Sequence[Frame]) -> tuple[int, int]:
    """Return what one repetition adds to stamps and to recording times [ns]: one gap at the end."""
    spans = []
    for values in ([f.stamp for f in held], [f.time for f in held]):
        gaps = np.diff(values)
        gap = int(np.median(gaps)) if len(gaps) else _LONE_FRAME_GAP
        spans.append(max(values) - min(values) + max(gap, 1))
    return spans[0], spans[1]


def _cycle(held: Sequence[Frame], count: int, offset: int) -> Iterator[tuple[Frame, int, int]]:
    stamps, times = _spans(held)
    for index in range(count):
        turn, position = divmod(index, len(held))
        frame = held[position]
        yield frame, offset + turn * stamps, frame.time + turn * times


def _schedule(
    frames: Iterable[tuple[Frame, int, int]], rate: float | None
) -> Iterator[tuple[Frame, int, float, float]]:
    """Give each frame its shift [ns], when it is due [s after the beginning] and its period [s]."""
    first: int | None = None
    before = 0.0
    for index, (frame, shift, recorded) in enumerate(frames):
        first = recorded if first is None else first
        due = (recorded - first) / _SECOND if rate is None else index / rate
        yield frame, shift, due, (due - before if index else _LONE_FRAME_GAP / _SECOND)
        before = due


def _read_ahead(frames: Iterable[Frame]) -> Iterator[tuple[Frame, int, int]]:
    """Read a recording in a thread, so that the disk does not delay the next frame."""
    waiting: queue.Queue[Frame | Exception | None] = queue.Queue(_READ_AHEAD)
    stop = threading.Event()

    def read() -> None:
        try:
            for frame in frames:
                waiting.put(frame)
                if stop.is_set():
                    return
            waiting.put(None)
        except Exception as error:  # noqa: BLE001 (raised again below, in the thread that plays)
            waiting.put(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item, 0, item.time
    finally:
        stop.set()
        while thread.is_alive():
            with suppress(queue.Empty):
                waiting.get(timeout=0.05)
