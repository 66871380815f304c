from __future__ import annotations

import pytest

from edge_runtime.pairing import Pairing

MS = 1_000_000
START = 1_000 * MS


def paired(required: list[str], optional: list[str], slop_ms: float = 10) -> Pairing:
    pairing = Pairing("colour", required, optional)
    pairing.slop_ns = int(slop_ms * MS)
    return pairing


def test_one_input_needs_no_partner() -> None:
    assert paired([], []).add("colour", 5, "a", 0.0) == [{"colour": "a"}]


def test_the_nearest_partner_within_the_slop_is_taken_in_any_order_of_arrival() -> None:
    pairing = paired(["depth"], [])
    assert pairing.add("depth", START, "d0", 0.0) == []
    assert pairing.add("depth", START + 33 * MS, "d1", 0.0) == []
    assert pairing.add("colour", START + 30 * MS, "c1", 0.0) == [{"colour": "c1", "depth": "d1"}]
    assert pairing.add("colour", START + 66 * MS, "c2", 0.0) == []
    assert pairing.add("depth", START + 60 * MS, "d2", 0.0) == [{"colour": "c2", "depth": "d2"}]
    assert pairing.unpaired == 0


def test_frames_without_a_required_partner_are_counted_and_do_not_pile_up() -> None:
    pairing = paired(["depth"], [])
    for index in range(100):
        assert pairing.add("colour", START + index * 33 * MS, index, index / 30) == []
    assert pairing.unpaired == 96
    # A late partner serves the frame that it belongs to, and what is older is given up.
    assert pairing.add("depth", START + 98 * 33 * MS, "d", 4.0) == [{"colour": 98, "depth": "d"}]
    assert pairing.unpaired == 98


def test_an_optional_input_is_waited_for_only_while_it_is_alive() -> None:
    pairing = paired([], ["depth"])
    assert pairing.add("colour", START, "c0", 0.0) == [{"colour": "c0"}]
    assert pairing.add("depth", START + 33 * MS, "d1", 0.1) == []
    assert pairing.add("colour", START + 33 * MS, "c1", 0.1) == [{"colour": "c1", "depth": "d1"}]
    assert pairing.add("colour", START + 66 * MS, "c2", 0.2) == []
    assert pairing.add("colour", START + 99 * MS, "c3", 1.2) == [{"colour": "c2"}, {"colour": "c3"}]
    assert not pairing.is_waiting
    assert pairing.unpaired == 0


def test_an_optional_partner_is_waited_for_a_short_time_only() -> None:
    pairing = paired([], ["depth"])
    assert pairing.add("depth", START, "d0", 0.0) == []
    assert pairing.add("colour", START + 33 * MS, "c1", 0.1) == []
    assert pairing.is_waiting
    assert pairing.take(0.2) == []
    assert pairing.take(0.4) == [{"colour": "c1"}]
    assert not pairing.is_waiting


@pytest.mark.parametrize("lag_ms", [-5, 0, 15, 50])
@pytest.mark.parametrize("every", [1, 2, 3, 6])
def test_slower_optional_depth_costs_no_frame_and_no_time(every: int, lag_ms: float) -> None:
    """30 Hz colour with depth of each `every`-th frame, which arrives `lag_ms` after it."""
    pairing = paired([], ["depth"], slop_ms=20)
    stamps = [START + round(i * 1000 * MS / 30) for i in range(60)]
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
        stamp = START + index * 33 * MS
        came += pairing.add("colour", stamp, f"c{index}", stamp / 1e9)
        if index != 5:
            came += pairing.add("depth", stamp, f"d{index}", stamp / 1e9)
    assert [found["colour"] for found in came] == [f"c{index}" for index in range(10)]
    assert [found["colour"] for found in came if "depth" not in found] == ["c0", "c5"]


def test_clear_forgets_the_past() -> None:
    pairing = paired(["depth"], [])
    pairing.add("depth", START, "old", 0.0)
    pairing.clear()
    assert pairing.add("colour", START, "c", 0.0) == []


Answer = tuple[int, "int | None", float]


def played(pairing: Pairing, arrivals: list[tuple[float, str, int, int]]) -> list[Answer]:
    """Play (seconds, input, stamp, number); return number, its depth's number, seconds waited."""
    came = {number: at for at, name, _, number in arrivals if name == "colour"}
    answers = []
    for at, name, stamp, number in sorted(arrivals):
        for found in pairing.add(name, stamp, number, at):
            colour = found["colour"]
            answers.append((colour, found.get("depth"), at - came[colour]))
    return answers


@pytest.mark.parametrize("behind_s", [1.0, 3600.0, -0.5, -3600.0])
def test_optional_depth_of_another_clock_holds_nothing_up_until_it_matches(behind_s: float) -> None:
    pairing = paired([], ["depth"], slop_ms=20)
    arrivals = []
    for index in range(120):
        at = 10_000 + index / 30
        shift = behind_s if index < 60 else 0.0
        arrivals.append((at, "colour", int(at * 1e9), index))
        arrivals.append((at + 0.005, "depth", int((at - shift) * 1e9), index))
    answers = played(pairing, arrivals[:120])
    assert [colour for colour, _, _ in answers] == list(range(60))
    assert all(depth is None for _, depth, _ in answers)
    assert all(waited == 0.0 for _, _, waited in answers[12:])
    assert pairing.unmatched(10_002.0) == {"depth": pytest.approx(-behind_s, abs=0.01)}
    # Its clock is set right: one frame goes without while that is found out.
    answers = played(pairing, arrivals[120:])
    assert [depth for _, depth, _ in answers] == [None, *range(61, 120)]
    assert pairing.unmatched(10_004.0) == {}


@pytest.mark.parametrize("rate", [10, 30, 100])
@pytest.mark.parametrize("later_s", [-0.002, 0.002])
@pytest.mark.parametrize("stamped", ["neither", "colour", "depth"])
def test_what_has_no_stamp_is_paired_by_its_arrival(
    rate: int, later_s: float, stamped: str
) -> None:
    pairing = paired([], ["depth"], slop_ms=20)
    arrivals = []
    for index in range(50):
        at = 5.0 + index / rate
        stamps = {name: int(at * 1e9) if stamped == name else 0 for name in ("colour", "depth")}
        arrivals.append((at, "colour", stamps["colour"], index))
        arrivals.append((at + later_s, "depth", stamps["depth"], index))
    answers = played(pairing, arrivals)
    assert [colour for colour, _, _ in answers] == list(range(50))
    # Nothing is known of the rhythm before the second depth image.
    assert [depth for _, depth, _ in answers[2:]] == list(range(2, 50))
    assert all(waited <= 0.0021 for _, _, waited in answers[2:])
