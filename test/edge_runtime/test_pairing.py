from __future__ import annotations

import pytest

from edge_runtime.pairing import Pairing

MS = 1_000_000


def paired(required: list[str], optional: list[str], slop_ms: float = 10) -> Pairing:
    pairing = Pairing("colour", required, optional)
    pairing.slop_ns = int(slop_ms * MS)
    return pairing


def test_one_input_needs_no_partner() -> None:
    assert paired([], []).add("colour", 5, "a", 0.0) == [{"colour": "a"}]


def test_the_nearest_partner_within_the_slop_is_taken_in_any_order_of_arrival() -> None:
    pairing = paired(["depth"], [])
    assert pairing.add("depth", 0 * MS, "d0", 0.0) == []
    assert pairing.add("depth", 33 * MS, "d1", 0.0) == []
    assert pairing.add("colour", 30 * MS, "c1", 0.0) == [{"colour": "c1", "depth": "d1"}]
    assert pairing.add("colour", 66 * MS, "c2", 0.0) == []
    assert pairing.add("depth", 60 * MS, "d2", 0.0) == [{"colour": "c2", "depth": "d2"}]
    assert pairing.unpaired == 0


def test_frames_without_a_required_partner_are_counted_and_do_not_pile_up() -> None:
    pairing = paired(["depth"], [])
    for index in range(100):
        assert pairing.add("colour", index * 33 * MS, index, index / 30) == []
    assert pairing.unpaired == 96
    # A late partner serves the frame that it belongs to, and what is older is given up.
    assert pairing.add("depth", 98 * 33 * MS, "d", 4.0) == [{"colour": 98, "depth": "d"}]
    assert pairing.unpaired == 98


def test_an_optional_input_is_waited_for_only_while_it_is_alive() -> None:
    pairing = paired([], ["depth"])
    assert pairing.add("colour", 0, "c0", 0.0) == [{"colour": "c0"}]
    assert pairing.add("depth", 33 * MS, "d1", 0.1) == []
    assert pairing.add("colour", 33 * MS, "c1", 0.1) == [{"colour": "c1", "depth": "d1"}]
    assert pairing.add("colour", 66 * MS, "c2", 0.2) == []
    assert pairing.add("colour", 99 * MS, "c3", 1.2) == [{"colour": "c2"}, {"colour": "c3"}]
    assert not pairing.is_waiting
    assert pairing.unpaired == 0


def test_an_optional_partner_is_waited_for_a_short_time_only() -> None:
    pairing = paired([], ["depth"])
    assert pairing.add("depth", 0, "d0", 0.0) == []
    assert pairing.add("colour", 33 * MS, "c1", 0.1) == []
    assert pairing.is_waiting
    assert pairing.take(0.2) == []
    assert pairing.take(0.4) == [{"colour": "c1"}]
    assert not pairing.is_waiting


@pytest.mark.parametrize("lag_ms", [-5, 0, 15, 50])
@pytest.mark.parametrize("every", [1, 2, 3, 6])
def test_slower_optional_depth_costs_no_frame_and_no_time(every: int, lag_ms: float) -> None:
    """30 Hz colour with depth of each `every`-th frame, which arrives `lag_ms` after it."""
    pairing = paired([], ["depth"], slop_ms=20)
    stamps = [round(i * 1000 * MS / 30) for i in range(60)]
    arrivals = [(stamp, 0, "colour", stamp) for stamp in stamps]
    arrivals += [(stamp + int(lag_ms * MS), 1, "depth", stamp) for stamp in stamps[::every]]
    answers: dict[int, tuple[int | None, int]] = {}
    for now, _, name, stamp in sorted(arrivals):
        for found in pairing.add(name, stamp, stamp, now / 1e9):
            answers[found["colour"]] = (found.get("depth"), now - found["colour"])
    # The last frame may have to wait longer than the recording lasts.
    assert list(answers) == stamps[: len(answers)]
    assert len(answers) >= 59
    assert pairing.unpaired == 0
    # Nothing is known of the rhythm before the second depth image.
    for index, stamp in enumerate(stamps[2 * every : len(answers)], 2 * every):
        depth, waited = answers[stamp]
        assert depth == (stamp if index % every == 0 else None)
        assert waited <= max(lag_ms, 0) * MS


def test_depth_that_is_missed_once_costs_no_frame() -> None:
    pairing = paired([], ["depth"])
    came: list[dict[str, str]] = []
    for index in range(10):
        stamp = index * 33 * MS
        came += pairing.add("colour", stamp, f"c{index}", stamp / 1e9)
        if index != 5:
            came += pairing.add("depth", stamp, f"d{index}", stamp / 1e9)
    assert [found["colour"] for found in came] == [f"c{index}" for index in range(10)]
    assert [found["colour"] for found in came if "depth" not in found] == ["c0", "c5"]


def test_clear_forgets_the_past() -> None:
    pairing = paired(["depth"], [])
    pairing.add("depth", 0, "old", 0.0)
    pairing.clear()
    assert pairing.add("colour", 0, "c", 0.0) == []
