"""Recorded times are data: whatever they are, waits are short, and stamps tell the frames apart."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from edge_replay.bags import Recording
from edge_replay.cdr import stamp_of
from edge_replay.timeline import LONGEST_PAUSE, SECOND, make_timeline
from edge_runtime.interface import Input

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_700_000_000 * SECOND
TENTHS = [NOW + index * SECOND // 10 for index in range(8)]
HOUR = 3600 * SECOND


@pytest.mark.parametrize(
    ("times", "note"),
    [
        ([0, 0, *TENTHS[2:]], "jumps .* before 2 of 8 images"),
        ([*TENTHS[:4], *(t - 5 * HOUR for t in TENTHS[4:])], "jumps .* before 1 of 8 images"),
        ([*TENTHS[:7], 2**63], "jumps .* before 1 of 8 images"),
        ([NOW] * 8, "tell no pace: they are played by their stamps"),
        ([0] * 8, "tell no pace: they are played by their stamps"),
        ([t // 10**6 for t in TENTHS], "tell no pace: they are played by their stamps"),
        (TENTHS, None),
    ],
)
def test_record_times_that_are_nonsense_cost_no_wait(times: list[int], note: str | None) -> None:
    line = make_timeline(times, TENTHS)
    assert [later - earlier for earlier, later in pairwise(line.due)] == [SECOND // 10] * 7
    assert list(line.stamps) == TENTHS
    assert len(line.pace_notes) == (note is not None)
    assert note is None or re.search(note, line.pace_notes[0])


def test_a_pause_is_shortened_and_said() -> None:
    times = [*TENTHS[:4], *(time + HOUR for time in TENTHS[4:])]
    line = make_timeline(times, times)
    assert line.due[-1] == 6 * SECOND // 10 + LONGEST_PAUSE
    assert "longest of 3600 s" in line.pace_notes[0]


def test_without_any_time_the_order_is_played_at_a_usual_rate() -> None:
    line = make_timeline([NOW] * 8, [0] * 8, [[0] * 8])
    assert 0.2 < line.due[-1] / SECOND < 0.3
    assert all(later > earlier > 0 for earlier, later in pairwise(line.stamps))
    assert line.paired_by == "place"


def test_stamps_of_zero_give_way_to_the_times_of_recording(shared_data: Path) -> None:
    inputs = (Input("image", "colour"), Input("depth", "depth"))
    bag = shared_data / "field" / "bags" / "stamps_zero_depth"
    recording = Recording(bag, inputs, {})
    frames = list(recording.frames())
    assert [frame.stamp for frame in frames] == [NOW + k * SECOND // 10 for k in range(12)]
    for place, frame in enumerate(frames):
        assert [role for role, _ in frame.messages] == ["depth", "image"]
        assert {stamp_of(message) for _, message in frame.messages} == {frame.stamp}
        depth_mm = int.from_bytes(frame.messages[0][1][-2:], "little")
        assert depth_mm == 500 + 100 * place
    assert any("are 0 or do not rise" in note for note in recording.notes)
