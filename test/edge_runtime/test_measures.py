from __future__ import annotations

import pytest

from edge_runtime.counters import Counters
from edge_runtime.latency import LatencyWindow, Stopwatch
from edge_runtime.log_throttle import LogThrottle
from edge_runtime.losses import Losses


def test_percentiles_are_of_the_last_frames_only() -> None:
    window = LatencyWindow(100)
    for ms in [1e9] * 50 + list(range(1, 101)):
        window.add({"engine": ms})
    percentiles = window.percentiles()["engine"]
    assert percentiles == pytest.approx({"p50": 50.5, "p95": 95.05, "p99": 99.01, "max": 100.0})
    window.clear()
    assert window.percentiles() == {}


def test_stages_keep_their_order_add_up_and_are_dropped_when_they_fail() -> None:
    stopwatch = Stopwatch()
    stopwatch.add("queue", 1.5)
    stopwatch.add("engine", 2.0)
    stopwatch.add("queue", 1.0)
    with pytest.raises(KeyError), stopwatch.stage("publish"):
        raise KeyError
    with stopwatch.stage("total"):
        pass
    assert list(stopwatch.stages) == ["queue", "engine", "total"]
    assert stopwatch.stages["queue"] == 2.5


def test_recent_counts_and_rates_look_back_five_seconds() -> None:
    counters = Counters()
    assert (counters.recent("x"), counters.rate("x")) == (0, 0.0)
    for second in range(20):
        counters.add("x", 30 if second < 10 else 10)
        counters.tick(float(second))
    assert counters.total("x") == 400
    assert counters.rate("x") == pytest.approx(10.0)
    counters.add("rejected: step")
    assert counters.with_prefix("rejected: ") == {"step": 1}


def test_each_kind_is_logged_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    throttle = LogThrottle()
    assert throttle.due("step", "wrong step") == "wrong step"
    assert throttle.due("data", "no data") == "no data"
    assert throttle.due("step", "wrong step") is None
    assert throttle.due("step", "wrong step") is None
    now[0] += 5.1
    assert throttle.due("step", "wrong") == "wrong (2 more since the last warning)"
    assert throttle.due("data", "no data") == "no data"


def test_losses_are_gaps_of_each_publisher_and_what_the_middleware_reports() -> None:
    told: list[int] = []

    def info(number: int, publisher: bytes) -> dict[str, object]:
        return {
            "publication_sequence_number": number,
            "publisher_gid": {"data": publisher, "implementation_identifier": "x"},
        }

    losses = Losses(told.append, has_one_publisher=lambda: False)
    for number, publisher in [(7, b"a"), (1, b"b"), (8, b"a"), (3, b"b"), (12, b"a"), (1, b"a")]:
        losses.received(info(number, publisher))
    assert told == [1, 3]
    # The middleware saw the same four, and then two more.
    losses.reported(4)
    losses.reported(2)
    assert told == [1, 3, 2]
    losses.received({})
    losses.received({"publication_sequence_number": None, "publisher_gid": None})
    assert told == [1, 3, 2]


def test_losses_that_the_middleware_miscounts_are_not_believed() -> None:
    told: list[int] = []
    losses = Losses(told.append, has_one_publisher=lambda: True)
    # As Fast DDS reported them when parts of large images were lost between small ones.
    for count in (20, 2**31 - 1, 2**64 - 2**31, 2**31 + 20, 1):
        losses.reported(count)
    assert told == [20, 1]


@pytest.mark.parametrize(("publishers", "lost"), [(1, [496]), (2, [])])
def test_numbers_without_a_publisher_are_a_row_only_if_there_is_one(
    publishers: int, lost: list[int]
) -> None:
    told: list[int] = []
    losses = Losses(told.append, has_one_publisher=lambda: publishers == 1)
    for number in (500, 3, 500):
        losses.received({"publication_sequence_number": number})
    assert told == lost
