"""Playing frames into the node: at the recording's pace, at a fixed rate, at the highest rate."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edge_replay.cdr import stamp_of
from edge_replay.node_process import NodeError
from edge_replay.results import RateTrial
from edge_replay.timeline import LATEST_STAMP, SECOND, USUAL_GAP
from edge_runtime.interface import RESET
from edge_runtime.progress import progress

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from edge_replay.bags import RecordedFrame
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
_OVERTIME = 1.1
_READ_AHEAD = 8
_POLL = 0.01
_REQUEST_SECONDS = 1.0
_REQUEST_PAUSE = 0.005


@dataclass(frozen=True)
class Sent:
    """One frame as it went out: stamps in ns, time as perf_counter_ns before its publication.

    `turn`: how often the recording had been played from its beginning before.
    """

    stamp: int
    recorded_stamp: int
    time: int
    turn: int


@dataclass
class Pass:
    """What one pass published and what came back.

    Attributes:
        late: frames that went out more than half a period after their time.
        answers: published stamp -> the first answer's time, perf_counter_ns.
        refusals: why frames were not answered on request, and how many.
    """

    sent: list[Sent] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    answers: dict[int, int] = field(default_factory=dict)
    late: int = 0
    refusals: Counter[str] = field(default_factory=Counter)

    @property
    def seconds(self) -> float:
        """From the first publication to the last, plus one mean period."""
        if len(self.sent) < 2:  # noqa: PLR2004
            return USUAL_GAP / SECOND
        span = (self.sent[-1].time - self.sent[0].time) / SECOND
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
    def trial(self) -> RateTrial:
        """What a search keeps of it."""
        return RateTrial(rate_hz=self.rate, dropped=self.dropped)

    def holds(self, rate: float) -> bool:
        """Whether it really went out at this rate, with less than `ALLOWED_DROPS` unanswered."""
        return self.dropped < ALLOWED_DROPS and self.rate > rate * _KEEPING_UP

    def latencies(self) -> dict[int, float]:
        """Published stamp -> milliseconds from publishing to the answer."""
        begun = {sent.stamp: sent.time for sent in self.sent}
        return {stamp: (end - begun[stamp]) / 1e6 for stamp, end in self.answers.items()}


class Player:
    """Plays into one running node.

    The stamps that it publishes only ever rise, whatever those of the recording do, and where it
    begins anew: so each tells one frame, and nodes refuse none for going back. A node that
    can be reset is, whenever the recording begins.
    """

    def __init__(self, link: Link, node: NodeProcess, *, on_request: bool = False) -> None:
        """Play through `link`, watching that `node` lives; ask for each answer `on_request`."""
        self._link = link
        self._node = node
        self._on_request = on_request
        self._shift = 0
        self._stamp = 0
        self._gap = USUAL_GAP
        self._slowest: float | None = None

    def announce(self, frame: RecordedFrame, roles: Iterable[str]) -> None:
        """Publish a frame's camera infos alone: the node must know them before the first image."""
        self._link.publish(frame, 0, roles)

    def once(self, frames: Iterable[RecordedFrame], rate: float | None, total: int) -> Pass:
        """Play every frame once, at `rate` Hz, or as recorded (None)."""
        return self._play(_schedule(_read_ahead(frames), rate), total)

    def repeatedly(self, held: Sequence[RecordedFrame], rate: float | None, seconds: float) -> Pass:
        """Play for so long, beginning again at the end of those held; at least one frame."""
        pace = rate or len(held) * SECOND / _span(held)
        count = max(1, round(seconds * pace))
        # A machine that cannot keep the rate ends in about the time that was asked for too.
        limit = _OVERTIME * seconds + 1.0
        return self._play(_schedule(_cycle(held, count), rate), count, limit)

    def highest_rate(self, held: Sequence[RecordedFrame]) -> tuple[float, list[RateTrial]]:
        """Search the highest rate [Hz] that holds in short trials, and how it was found.

        Raises by steps until too many frames are dropped, then halves the interval until it is
        narrower than 5 %. Ends early where this process cannot publish any faster.

        Raises:
            NodeError: not one frame of a first, slow pass is answered: there is nothing to search.
        """
        trials: list[RateTrial] = []

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

    def _play(
        self,
        schedule: Iterable[tuple[RecordedFrame, float, float]],
        total: int,
        limit: float = math.inf,
    ) -> Pass:
        result = Pass()
        self._link.take()
        begin: float | None = None
        first: RecordedFrame | None = None
        turn = -1
        for frame, due, period in progress(
            schedule, total=total, unit="frame", desc="playing", leave=False
        ):
            first = first or frame
            if frame is first:
                turn += 1
                paused = self._reset(result)
                # The pace goes on where it was.
                begin = begin and begin + paused
            # Time begins with the first frame, not with the opening of the bag that it comes from.
            begin = time.perf_counter() if begin is None else begin
            if time.perf_counter() - begin > limit:
                break
            if (ahead := begin + due - time.perf_counter()) > 0:
                time.sleep(ahead)
            result.late += ahead < -period / 2
            stamp = self._risen(frame.stamp)
            result.sent.append(Sent(stamp, frame.stamp, time.perf_counter_ns(), turn))
            self._link.publish(frame, stamp - frame.stamp)
            if self._on_request:
                self._request(result, stamp)
            self._node.check()
        self._collect(result)
        return result

    def _reset(self, result: Pass) -> float:
        """Have the node begin anew, once the last frame is answered; return the seconds it took."""
        if not self._link.resets:
            return 0.0
        begun = time.perf_counter()
        self._collect(result, result.sent[-1:])
        self._link.call(RESET)
        return time.perf_counter() - begun

    def _request(self, result: Pass, stamp: int) -> None:
        """Ask until the frame is answered: the first requests may overtake the image."""
        begun = time.monotonic()
        while refusal := self._link.decide(stamp):
            if time.monotonic() - begun > _REQUEST_SECONDS:
                result.refusals[refusal] += 1
                return
            self._node.check()
            time.sleep(_REQUEST_PAUSE)
        self._collect(result, result.sent[-1:])

    def _risen(self, recorded: int) -> int:
        """Return the stamp under which a frame goes out: after that of the frame before."""
        if recorded + self._shift <= self._stamp:
            self._shift = self._stamp + self._gap - recorded
        if recorded + self._shift >= LATEST_STAMP:
            # No message can carry it: only here does a stamp go back.
            self._shift = self._gap - recorded
        stamp = recorded + self._shift
        if 0 < stamp - self._stamp <= SECOND:
            self._gap = stamp - self._stamp
        self._stamp = stamp
        return stamp

    def _collect(self, result: Pass, wanted: Sequence[Sent] | None = None) -> None:
        """Wait until frames (None: all) are answered, or nothing comes for longer than it takes.

        The first answer of a node may take long: then the network's libraries set themselves up.
        """
        stamps = {sent.stamp for sent in result.sent}
        waited_for = {sent.stamp for sent in (result.sent if wanted is None else wanted)}
        quiet_since = time.monotonic()
        while not waited_for <= result.answers.keys():
            answered = len(result.answers)
            self._receive(result, stamps)
            # Whatever else a node publishes by itself is nothing to wait for.
            if len(result.answers) > answered:
                quiet_since = time.monotonic()
            if result.answers:
                slowest = max(result.latencies().values()) / 1e3
                self._slowest = max(self._slowest or _USUAL_ANSWER_SECONDS, slowest)
            usual = self._slowest and 1.0 + 3 * self._slowest
            if time.monotonic() - quiet_since > (usual or _FIRST_ANSWER_SECONDS):
                break
            self._node.check()
            time.sleep(_POLL)
        if wanted is None:
            # The latency message of the last frame follows its answer.
            time.sleep(0.1)
            self._receive(result, stamps)

    def _receive(self, result: Pass, stamps: Collection[int]) -> None:
        arrived = self._link.take()
        for received in arrived:
            stamp = stamp_of(received.message)
            if received.topic != self._link.latency_topic and stamp in stamps:
                result.answers.setdefault(stamp, received.time)
        result.received += arrived


def hold(frames: Iterable[RecordedFrame]) -> list[RecordedFrame]:
    """Keep frames from the beginning of a recording in memory, up to `HELD_BYTES`."""
    held: list[RecordedFrame] = []
    size = 0
    for frame in frames:
        size += frame.size
        if held and size > HELD_BYTES:
            break
        held.append(frame)
    return held


def _span(held: Sequence[RecordedFrame]) -> int:
    """Return how long one repetition takes at the recorded pace [ns], one gap at its end."""
    times = [frame.time for frame in held]
    gaps = np.diff(times)
    return times[-1] + (int(np.median(gaps)) if len(gaps) else USUAL_GAP)


def _cycle(held: Sequence[RecordedFrame], count: int) -> Iterator[tuple[RecordedFrame, int]]:
    span = _span(held)
    for index in range(count):
        turn, position = divmod(index, len(held))
        yield held[position], held[position].time + turn * span


def _schedule(
    frames: Iterable[tuple[RecordedFrame, int]], rate: float | None
) -> Iterator[tuple[RecordedFrame, float, float]]:
    """Give each frame, when it is due [s after the beginning], and its period [s]."""
    before = 0.0
    for index, (frame, time_) in enumerate(frames):
        due = time_ / SECOND if rate is None else index / rate
        yield frame, due, (due - before if index else USUAL_GAP / SECOND)
        before = due


def _read_ahead(frames: Iterable[RecordedFrame]) -> Iterator[tuple[RecordedFrame, int]]:
    """Read a recording in a thread, so that the disk does not delay the next frame."""
    waiting: queue.Queue[RecordedFrame | Exception | None] = queue.Queue(_READ_AHEAD)
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
            yield item, item.time
    finally:
        stop.set()
        while thread.is_alive():
            with suppress(queue.Empty):
                waiting.get(timeout=0.05)
