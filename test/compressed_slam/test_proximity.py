from __future__ import annotations

import numpy as np
import pytest

from compressed_slam.proximity import nearby, neighbours
from compressed_slam.settings import ProximitySettings, preset
from edge_runtime.errors import SettingError

FAR = np.inf


def table(count: int, near: dict[tuple[int, int], float]) -> np.ndarray:
    distances = np.full((count, count), FAR)
    for (i, j), distance in near.items():
        distances[i, j] = distances[j, i] = distance
    return distances


def settings(threshold: float = 10.0, suppress: int = 0) -> ProximitySettings:
    return ProximitySettings(threshold=threshold, radius=1, suppress=suppress)


def test_keyframes_in_a_row_are_joined_both_ways_whatever_their_distance() -> None:
    chosen = nearby(table(8, {}), settings(), [], 100)
    assert set(chosen) == set(neighbours(0, 8, 2))
    assert len(chosen) == len(set(chosen)) == 2 * (7 + 6)


def test_others_are_joined_the_nearest_first_up_to_the_threshold() -> None:
    near = {(0, 7): 5.0, (0, 5): 3.0, (1, 7): 10.5}
    kept = set(neighbours(0, 8, 2))
    everything = nearby(table(8, near), settings(), [], 100)
    assert [pair for pair in everything if pair not in kept] == [(0, 5), (5, 0), (0, 7), (7, 0)]
    few = nearby(table(8, near), settings(), [], len(kept) + 2)
    assert [pair for pair in few if pair not in kept] == [(0, 5), (5, 0)]


def test_an_edge_keeps_those_around_it_from_being_made() -> None:
    near = {(0, 9): 1.0, (1, 9): 2.0, (0, 7): 3.0, (3, 9): 4.0}
    kept = set(neighbours(0, 10, 2))

    def beyond(suppress: int, taken: list[tuple[int, int]]) -> set[tuple[int, int]]:
        chosen = nearby(table(10, near), settings(suppress=suppress), taken, 100)
        return {pair for pair in chosen if pair not in kept and pair[0] < pair[1]}

    assert beyond(0, []) == {(0, 9), (1, 9), (0, 7), (3, 9)}
    assert beyond(1, []) == {(0, 9), (0, 7), (3, 9)}
    assert beyond(2, []) == {(0, 9), (3, 9)}
    # Those that are there already suppress as well, and are not made again.
    assert beyond(2, [(0, 9)]) == {(3, 9)}


def test_only_the_latest_look_for_partners() -> None:
    near = {(0, 5): 1.0, (0, 7): 1.0}
    chosen = nearby(table(8, near), settings(), [], 100, since=6)
    assert all(max(pair) >= 6 for pair in chosen)
    assert (0, 7) in chosen


def test_there_is_no_room_for_more_than_asked_but_for_keyframes_in_a_row() -> None:
    near = {(0, 5): 1.0, (1, 6): 2.0, (0, 7): 3.0}
    kept = set(neighbours(0, 8, 2))
    for room in (-3, 0, len(kept), len(kept) + 1, len(kept) + 2, len(kept) + 5):
        chosen = nearby(table(8, near), settings(), [], room)
        assert kept <= set(chosen)
        assert len(chosen) == len(kept) + max(0, room - len(kept)) // 2 * 2


def test_settings_are_refused_by_one_line_that_names_them() -> None:
    assert preset("euroc").window == 20
    with pytest.raises(SettingError, match=r"'kitti'.*tum, euroc, eth3d"):
        preset("kitti")
    with pytest.raises(SettingError, match="motion_threshold"):
        preset("tum", motion_threshold=-1)
    with pytest.raises(SettingError, match="max_keyframes 32 is less than window 30"):
        preset("tum", max_keyframes=32, window=30)
    with pytest.raises(SettingError, match="max_edges 20 is too few"):
        preset("tum", max_edges=20)
    with pytest.raises(SettingError, match="max_keyframes 128: give 1024 or more"):
        preset("tum", max_keyframes=128)
    with pytest.raises(SettingError, match="speed"):
        preset("tum", speed=2)
