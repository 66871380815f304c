from __future__ import annotations

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
    assert pairing.add("colour", 99 * MS, "c3", 1.2) == [{"colour": "c3"}]


def test_clear_forgets_the_past() -> None:
    pairing = paired(["depth"], [])
    pairing.add("depth", 0, "old", 0.0)
    pairing.clear()
    assert pairing.add("colour", 0, "c", 0.0) == []
