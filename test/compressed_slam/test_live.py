"""Keyframes taken in beside tracking: what waits, what does not, and what comes of it."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba comes with the extra [slam]")

from recordings import Drive, truth_of, walk

from compressed_slam.estimate import Health
from compressed_slam.executors import Beside, Inline
from compressed_slam.priority import LATER

if TYPE_CHECKING:
    from compressed_slam.matching import Matcher, Operator

PATIENCE_S = 60


class Held:
    """The operator, whose matches for the map wait until `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, operator: Operator) -> Held:
        self._operator = operator
        self.view = operator.view
        return self

    def matcher(self, *, lasting: bool) -> Matcher:
        matcher: Any = self._operator.matcher(lasting=lasting)
        if lasting:
            refine = matcher.refine

            def wait(*maps: Any) -> Any:  # noqa: ANN401
                assert self.go.wait(PATIENCE_S)
                return refine(*maps)

            matcher.refine = wait
        return matcher


class Counted:
    """The operator; `edges` counts those that are matched for the map."""

    def __init__(self) -> None:
        self.edges = 0

    def __call__(self, operator: Operator) -> Counted:
        self._operator = operator
        self.view = operator.view
        return self

    def matcher(self, *, lasting: bool) -> Matcher:
        matcher: Any = self._operator.matcher(lasting=lasting)
        if lasting:
            refine = matcher.refine

            def count(coords: Any, target: Any) -> Any:  # noqa: ANN401
                self.edges += len(coords)
                return refine(coords, target)

            matcher.refine = count
        return matcher


def test_a_keyframe_is_matched_as_often_as_it_helps_and_less_where_others_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shots = walk("wander", 1, 4.0, 12.0)
    costs = []
    for behind in (False, True):
        monkeypatch.setattr(Inline, "behind", lambda _, behind=behind: behind)
        counted = Counted()
        drive = Drive("rgbd", noise=0.05, wrap=counted)(shots)
        drive.tracker.finish()
        assert drive.error() < 0.005 * truth_of(shots).length
        costs.append(counted.edges / sum(estimate.keyframe for estimate in drive.estimates))
    # Matched until they are twenty updates old, edges would make it 80 for each keyframe.
    assert costs[0] < 40
    assert costs[1] < 0.8 * costs[0]


def test_pictures_wait_for_no_keyframe_and_all_are_in_the_map_in_the_end() -> None:
    shots = walk("wander", 1, 4.0, 12.0)
    held = Held()
    drive = Drive("rgbd", noise=0.05, live=True, wrap=held)
    # Nothing is taken in: tracking goes on by measured depth, and three keyframes wait at most.
    drive(shots[:40])
    assert {estimate.health for estimate in drive.estimates} == {
        Health.INITIALISING,
        Health.TRACKING,
    }
    assert 0 < drive.tracker.known.pending <= 4
    assert drive.tracker.postponed > 0
    told = drive.said("odometry")
    held.go.set()
    drive.tracker.trajectory()  # waits
    drive(shots[40:])
    drive.tracker.finish()
    assert len(drive.tracker.trajectory()) == len(shots)
    assert drive.error() < 0.01 * truth_of(shots).length
    # What mapping found out has moved the map, and not the odometry, in which nothing jumps.
    true = np.linalg.norm(np.diff(truth_of(shots).positions, axis=0), axis=1).max()
    steps = np.linalg.norm(np.diff(drive.said("odometry").positions, axis=0), axis=1)
    assert steps.max() < true + 0.02
    assert len(told) > 30


@pytest.mark.parametrize("mode", ["mono", "stereo"])
def test_without_measured_depth_one_keyframe_at_a_time_is_taken_in(mode: str) -> None:
    shots = walk("wander", 1, 4.0, 12.0)
    drive = Drive(mode, noise=0.03, live=True)
    for shot in shots:
        drive([shot])
        assert drive.tracker.known.pending <= (1 if drive.tracker.known.started else 4)
        drive.tracker.trajectory()  # as slow as mapping
    assert drive.estimates[-1].health is Health.TRACKING
    drive.tracker.finish()
    assert drive.error() < 0.01 * truth_of(shots).length


def test_a_reset_does_not_wait_for_what_waits() -> None:
    held = Held()
    drive = Drive("rgbd", live=True, wrap=held)(walk("wander", 1, 4.0, 12.0)[:30])
    threading.Timer(0.1, held.go.set).start()
    began = time.monotonic()
    drive.tracker.close()
    assert time.monotonic() - began < PATIENCE_S / 2
    assert drive.tracker.known.pending > 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness of each thread")
def test_who_gives_work_has_the_processor_before_it_is_done() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    beside, found = Beside("test", waiting=1), []
    beside.give(lambda: found.append(niceness()))
    beside.wait()
    beside.close()
    assert found == [min(niceness() + LATER, 19)]


def test_work_is_done_in_order_and_what_fails_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done: list[int] = []
    go = threading.Event()
    begun = threading.Event()
    beside = Beside("test", waiting=2)
    beside.give(lambda: done.append(int(not begun.set() and go.wait(PATIENCE_S))))
    assert begun.wait(PATIENCE_S)

    def fail() -> None:
        message = "unlucky"
        raise RuntimeError(message)

    assert not beside.behind()
    beside.give(fail)
    assert beside.behind()
    assert beside.has_room
    beside.give(lambda: done.append(2))
    assert not beside.has_room
    go.set()
    beside.wait()
    assert done == [1, 2]
    assert "unlucky" in caplog.text
    beside.close()
