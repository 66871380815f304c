from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba comes with the extra [train]")

from edge_runtime.errors import SettingError
from edge_worlds.rooms.poses import rotation_matrix
from edge_worlds.rooms.room import Room, make_room
from edge_worlds.rooms.trajectory import (
    CLEARANCE,
    Trajectory,
    fast_rotation,
    loop,
    pure_rotation,
    still,
    wander,
)

if TYPE_CHECKING:
    from collections.abc import Callable

WALKS = (wander, loop, fast_rotation)


@pytest.fixture(scope="module")
def room() -> Room:
    return make_room(5)


def turn(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Degrees between orientations of poses (..., 7)."""
    cosine = np.abs((first[..., 3:] * second[..., 3:]).sum(axis=-1))
    degrees: np.ndarray = np.degrees(2 * np.arccos(np.minimum(cosine, 1)))
    return degrees


def turning_rate(trajectory: Trajectory) -> np.ndarray:
    """Degrees per second between frames."""
    return turn(trajectory.poses[1:], trajectory.poses[:-1]) / np.diff(trajectory.stamps)


def travelled(trajectory: Trajectory) -> float:
    return float(np.linalg.norm(np.diff(trajectory.poses[:, :3], axis=0), axis=1).sum())


@pytest.mark.parametrize("kind", WALKS)
def test_walks_keep_clear_of_everything_for_as_long_as_asked(
    room: Room, kind: Callable[..., Trajectory]
) -> None:
    for seed, length, rate in ((0, 20.0, 30.0), (1, 35.0, 10.0)):
        trajectory = kind(room, seed, length=length, rate=rate)
        assert trajectory.stamps[0] == 0
        assert np.allclose(np.diff(trajectory.stamps), 1 / rate)
        assert len(trajectory) == len(trajectory.poses)
        assert room.clearance(trajectory.poses[:, :3]).min() > 0.95 * CLEARANCE
        assert travelled(trajectory) == pytest.approx(length, rel=0.02)
        assert np.ptp(trajectory.poses[:, :2], axis=0).min() > 1  # all over the room
        assert not np.array_equal(trajectory.poses[0], kind(room, seed + 7).poses[0])


@pytest.mark.parametrize("kind", [*WALKS, pure_rotation])
def test_position_and_orientation_are_twice_continuously_differentiable(
    room: Room, kind: Callable[..., Trajectory]
) -> None:
    step = 1e-3
    poses = kind(room, 0).at(np.arange(0.0, 12.0, step))
    second = np.diff(poses, 2, axis=0) / step**2
    # A corner in the path would be an impulse, one in its speed a step of about 1.
    assert np.abs(np.diff(second, axis=0)).max() < 0.1
    assert np.allclose(np.linalg.norm(poses[:, 3:], axis=1), 1)


def test_a_camera_sees_upright_along_its_way(room: Room) -> None:
    trajectory = wander(room, 0)
    rotations = np.stack([rotation_matrix(pose[3:]) for pose in trajectory.poses])
    assert rotations[:, 2, 1].max() < -0.8  # optical y points down
    assert np.abs(rotations[:, 2, 0]).max() < 0.15  # optical x stays level
    ahead = np.diff(trajectory.poses[:, :2], axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    assert np.mean((ahead * rotations[:-1, :2, 2]).sum(axis=1) > 0) > 0.8
    assert 0.9 < trajectory.poses[:, 2].min() < trajectory.poses[:, 2].max() < 1.8


def test_only_a_fast_rotation_turns_fast(room: Room) -> None:
    for seed in range(2):
        assert turning_rate(wander(room, seed)).max() < 60
        assert turning_rate(loop(room, seed)).max() < 60
        fast = turning_rate(fast_rotation(room, seed))
        assert 135 < fast.max() < 160
        assert np.mean(fast > 100) > 0.1


def test_a_loop_comes_back_and_overlaps_itself(room: Room) -> None:
    for seed in range(3):
        trajectory = loop(room, seed, length=20.0)
        # Not the start itself, which is near the start.
        later = trajectory.stamps > 4
        gap = np.linalg.norm(trajectory.poses[:, :3] - trajectory.poses[0, :3], axis=1)
        back = int(np.flatnonzero(later)[gap[later].argmin()])
        assert gap[: back // 2].max() > 1.5
        assert gap[back] < 0.02
        assert turn(trajectory.poses[back], trajectory.poses[0]) < 1
        rest = trajectory.at(trajectory.stamps[back:])
        lap = trajectory.stamps[back]
        # The lap's time is known to half a frame.
        shifted = trajectory.at(trajectory.stamps[back:] - lap)
        assert len(rest) >= 0.08 * back
        assert np.linalg.norm(rest[:, :3] - shifted[:, :3], axis=1).max() < 0.02
        assert turn(rest, shifted).max() < 1.5


def test_turning_on_the_spot_does_not_move(room: Room) -> None:
    trajectory = pure_rotation(room, 0, duration=20.0)
    assert np.ptp(trajectory.poses[:, :3], axis=0).max() < 1e-9
    assert trajectory.stamps[-1] == pytest.approx(20.0)
    assert turning_rate(trajectory).sum() / 30 > 300
    assert room.clearance(trajectory.poses[0, :3]) > 0.5


def test_a_still_camera_is_still(room: Room) -> None:
    trajectory = still(room, 0, duration=3.0, rate=20.0)
    assert len(trajectory) == 61
    assert np.ptp(trajectory.poses, axis=0).max() < 1e-12


def test_a_walk_may_take_ten_thousand_frames(room: Room) -> None:
    trajectory = wander(room, 0, length=205.0)
    assert len(trajectory) > 10_000
    assert room.clearance(trajectory.poses[::10, :3]).min() > CLEARANCE


def test_refusals_say_what_is_allowed(room: Room) -> None:
    with pytest.raises(SettingError, match="length 0: give a number above 0"):
        wander(room, 0, length=0.0)
    with pytest.raises(SettingError, match="rate -1: give a number above 0"):
        still(room, 0, rate=-1.0)
    with pytest.raises(SettingError, match="duration nan: give a number above 0"):
        pure_rotation(room, 0, duration=float("nan"))
    with pytest.raises(SettingError, match=r"loop length 2 m: a lap .* give at least (\d+)") as bad:
        loop(room, 0, length=2.0)
    enough = float(str(bad.value).split("give at least ")[1])
    assert travelled(loop(room, 0, length=enough)) == pytest.approx(enough, rel=0.02)
