"""When each image is played and which stamp it gets, where recorded times are nonsense too."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

SECOND = 1_000_000_000
USUAL_GAP = SECOND // 30
"""Between images of which nothing better is known, ns."""

_SHORTEST_GAP = SECOND // 1000
LATEST_STAMP = 2**31 * SECOND
"""Where stamps end: they have seconds of 32 bits."""

LONGEST_PAUSE = 5 * SECOND
_CLOCK_WAS_SET = 24 * 3600 * SECOND


@dataclass(frozen=True)
class Timeline:
    """What playing must know before it begins.

    Attributes:
        due: per image, ns after the first one at the recording's own pace; always rising.
        stamps: per image, ns: its own, or what stands in for it.
        paired_by: what tells which messages belong together: stamps, record times, or their place
            in the order of their topic.
        notes: what is wrong with the stamps; `pace_notes`: with the record times.
    """

    due: Sequence[int]
    stamps: Sequence[int]
    paired_by: Literal["stamp", "time", "place"]
    notes: Sequence[str]
    pace_notes: Sequence[str]


def make_timeline(
    times: Sequence[int], stamps: Sequence[int], companions: Sequence[Sequence[int]] = ()
) -> Timeline:
    """Look at all moments of the images.

    Args:
        times: at which the images were recorded [ns], in recorded order.
        stamps: of the images [ns].
        companions: the stamps [ns] of each topic that accompanies them.
    """
    own_stamps, own_times = _rise(stamps), _is_pace(times)
    notes: list[str] = []
    pace_notes: list[str] = []
    pace = times
    if not own_times and len(times) > 1:
        instead = f"at {SECOND / USUAL_GAP:.0f} Hz"
        pace = range(0, len(times) * USUAL_GAP, USUAL_GAP)
        if _is_pace(stamps):
            pace, instead = stamps, "by their stamps"
        pace_notes.append(f"the record times of the images tell no pace: they are played {instead}")
    due, said = _paced(pace)
    pace_notes += said
    if own_stamps:
        notes += _stamps_that_fall(stamps)
    else:
        fits = own_times and all(0 < time < LATEST_STAMP for time in times)
        stamps = times if fits else [SECOND + time for time in due]
        notes.append(
            "the stamps of the images are 0 or do not rise: each image was given the time at which "
            "it was recorded"
        )
    paired_by: Literal["stamp", "time", "place"] = "stamp"
    if companions and not (own_stamps and all(map(_rise, companions))):
        paired_by = "time" if own_times else "place"
        by = "record times" if own_times else "order"
        notes.append(f"images that belong together are told by their {by}, not by their stamps")
    return Timeline(due, stamps, paired_by, tuple(notes), tuple(pace_notes))


def _stamps_that_fall(stamps: Sequence[int]) -> list[str]:
    back = sum(later <= earlier for earlier, later in pairwise(stamps))
    if not back:
        return []
    note = (
        f"{back} of {len(stamps)} images carry a stamp that is not after the one before: here they "
        "are moved on, so that every answer can be told from the others; of a camera, nodes refuse "
        "images whose stamp goes back"
    )
    return [note]


def _rise(values: Sequence[int]) -> bool:
    """Whether they tell moments apart: most of them are later than the one before."""
    steps = [later > earlier for earlier, later in pairwise(values)] or [values[0] > 0]
    return 2 * sum(steps) >= len(steps)


def _is_pace(times: Sequence[int]) -> bool:
    """Whether images can have come at such times: they rise, by what a camera's frame takes."""
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return _rise(times) and (not gaps or statistics.median(gaps) >= _SHORTEST_GAP)


def _paced(times: Sequence[int]) -> tuple[list[int], list[str]]:
    """Return when each is due, no wait longer than `LONGEST_PAUSE`, and what was changed."""
    gaps = [later - earlier for earlier, later in pairwise(times)]
    usual = int(statistics.median([g for g in gaps if 0 < g <= LONGEST_PAUSE] or [USUAL_GAP]))
    jumps = [gap for gap in gaps if not 0 < gap <= _CLOCK_WAS_SET]
    pauses = [gap for gap in gaps if LONGEST_PAUSE < gap <= _CLOCK_WAS_SET]
    waits = [min(gap, LONGEST_PAUSE) if 0 < gap <= _CLOCK_WAS_SET else usual for gap in gaps]
    notes = []
    if jumps:
        notes.append(
            f"the record time stands still or jumps (back, or by more than a day) before "
            f"{len(jumps)} of {len(times)} images: these follow after {usual / SECOND:.3g} s"
        )
    if pauses:
        notes.append(
            f"pauses in the recording ({len(pauses)}, the longest of {max(pauses) / SECOND:.0f} s) "
            f"are shortened to {LONGEST_PAUSE / SECOND:.0f} s"
        )
    return [0, *accumulate(waits)], notes
