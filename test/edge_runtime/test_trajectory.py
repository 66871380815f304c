"""Trajectories keep what they are given, in memory and in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edge_runtime.errors import SettingError
from edge_runtime.trajectory import (
    Trajectory,
    associate,
    read_trajectory,
    write_trajectory,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LATE = 1_305_031_102_175_304_123  # ns since 1970, more digits than a float64 holds


def wandering(count: int, seed: int = 0) -> Trajectory:
    rng = np.random.default_rng(seed)
    poses = np.concatenate(
        [rng.normal(size=(count, 3)).cumsum(axis=0), rng.normal(size=(count, 4))], axis=1
    )
    return Trajectory(LATE + rng.integers(1, 10**8, count).cumsum(), poses)


def test_a_file_holds_the_same_numbers_and_every_nanosecond(tmp_path: Path) -> None:
    trajectory = wandering(40)
    path = tmp_path / "poses.txt"
    write_trajectory(path, trajectory)
    again = read_trajectory(path)
    np.testing.assert_array_equal(again.stamps, trajectory.stamps)
    np.testing.assert_allclose(again.poses, trajectory.poses, rtol=0, atol=1e-15)
    assert path.read_text().splitlines()[1].startswith(f"{trajectory.stamps[0] / 1e9:.4f}")


def test_times_are_read_however_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "poses.txt"
    pose = "1 2 3 0 0 0 1\n"
    path.write_text(f"# a comment\n-0.5 {pose}\n 0 {pose}1.305031102175304123e+09 {pose}")
    assert read_trajectory(path).stamps.tolist() == [-500_000_000, 0, LATE]


def test_matrices_are_those_of_the_quaternions() -> None:
    trajectory = wandering(200)
    matrices = trajectory.matrices()
    for matrix, pose in zip(matrices, trajectory.poses, strict=True):
        axis, w = pose[3:6], pose[6]
        angle = 2 * np.arctan2(np.linalg.norm(axis), w)
        expected = cv2.Rodrigues(axis / np.linalg.norm(axis) * angle)[0]
        np.testing.assert_allclose(matrix[:3, :3], expected, atol=1e-12)
        np.testing.assert_array_equal(matrix[:3, 3], pose[:3])
    half_turns = np.concatenate([np.zeros((3, 3)), np.eye(4)[:3]], axis=1)
    turns = Trajectory(np.arange(3), half_turns).matrices()
    everything = np.concatenate([matrices, turns])
    again = Trajectory.from_matrices(np.arange(203), everything)
    np.testing.assert_allclose(again.matrices(), everything, atol=1e-14)


def test_the_length_is_that_of_the_way() -> None:
    poses = np.zeros((4, 7))
    poses[:, 6] = 2.0
    poses[1:, 0] = 3.0
    poses[2:, 1] = 4.0
    trajectory = Trajectory(np.arange(4), poses)
    assert trajectory.length == pytest.approx(7.0)
    assert trajectory[1:3].length == pytest.approx(4.0)
    assert (trajectory.poses[:, 6] == 1).all()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("2.0 1 2 3 0 0 0", r"poses\.txt' line 3: '2.0 1 2 3 0 0 0' has 7 values instead of 8"),
        ("2.0 1 2 3 0 0 0 1 9", "has 9 values instead of 8"),
        ("2.0 1 two 3 0 0 0 1", "line 3: 'two' is no finite number"),
        ("now 1 2 3 0 0 0 1", "line 3: 'now' is no time in s"),
        ("inf 1 2 3 0 0 0 1", "line 3: 'inf' is no time in s"),
        ("1e99 1 2 3 0 0 0 1", "line 3: '1e99' is no time in s"),
        ("0.5 1 2 3 0 0 0 1", r"line 3: time 0\.5 is before that of the line above"),
        ("2.0 1 2 3 0 0 0 .5", r"line 3: the quaternion .* has the length 0\.5"),
        ("2.0 0 0 0 1 1 2 3", r"line 3: the quaternion .* has the length 3\.87"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "poses.txt"
    path.write_text(f"# timestamp tx ty tz qx qy qz qw\n1.0 0 0 0 0 0 0 1\n{line}\n")
    with pytest.raises(SettingError, match=says):
        read_trajectory(path)


@pytest.mark.parametrize(
    "pose",
    [
        "nan nan nan nan nan nan nan",
        "1 -nan(ind) 3 0 0 0 1",
        "inf 0 0 0 0 0 1",
        "-1.#INF -1.#IND 1.#QNAN 0 0 0 1",
        "0 0 0 0 0 0 0",
        "1 2 3 0 0 0 -0.0",
    ],
)
def test_a_lost_pose_is_left_out_and_counted(tmp_path: Path, pose: str) -> None:
    path = tmp_path / "poses.txt"
    lines = [f"{second} {second} 0 0 0 0 0 1" for second in range(5)]
    lines[2] = f"2 {pose}"
    path.write_text("\n".join(lines))
    trajectory = read_trajectory(path)
    assert trajectory.positions[:, 0].tolist() == [0, 1, 3, 4]
    assert trajectory.lost.tolist() == [2 * 10**9]
    # The frame at the lost pose does not take a neighbour's, however wide the tolerance.
    stamps = 10**9 * np.array([1, 2, 3]) + 10**7
    frames, poses = trajectory.nearest(stamps, 1.5)
    assert frames.tolist() == [0, 2]
    assert trajectory.positions[poses, 0].tolist() == [1, 3]


def test_an_encoding_that_editors_make_is_read_or_named(tmp_path: Path) -> None:
    path = tmp_path / "poses.txt"
    line = "1.0 1 2 3 0 0 0 1\r\n"
    path.write_text(line, "utf-8-sig")
    assert len(read_trajectory(path)) == 1
    for encoding in ("utf-16", "utf-16-be", "utf-32"):
        path.write_text(line, encoding)
        with pytest.raises(SettingError, match=r"text in UTF-16 or UTF-32: save it as UTF-8"):
            read_trajectory(path)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"none\.txt' cannot be read \(No such file"):
        read_trajectory(tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(SettingError, match="holds nothing: it should hold lines 'timestamp tx"):
        read_trajectory(tmp_path / "empty.txt")
    (tmp_path / "picture.txt").write_bytes(b"\x89PNG\xff")
    with pytest.raises(SettingError, match="it is no text"):
        read_trajectory(tmp_path / "picture.txt")
    with pytest.raises(SettingError, match=r"cannot be written .* a folder that exists"):
        write_trajectory(tmp_path / "none" / "poses.txt", wandering(2))


def test_stamps_are_paired_one_to_one_within_the_tolerance() -> None:
    rng = np.random.default_rng(3)
    true = np.arange(50) * 33_333_333 + LATE
    slow = true + rng.integers(-4_000_000, 4_000_001, 50)
    fast = np.sort(rng.choice(np.arange(LATE - 10**8, LATE + 18 * 10**8, 10_000_000), 170, False))  # noqa: FBT003 - without replacement
    for first, second in [(slow, fast), (fast, slow)]:
        ours, theirs = associate(first, second, 0.005)
        for index in (ours, theirs):
            assert (np.diff(index) > 0).all()
        apart = np.abs(first[ours] - second[theirs])
        assert len(ours) > 20
        assert apart.max() <= 5_000_000
        # Nothing is nearer to a paired stamp, and what is left over has no partner.
        distances = np.abs(slow[:, None] - fast[None])
        np.testing.assert_array_equal(np.sort(apart), np.sort(_nearest(distances, 5_000_000)))


def _nearest(distances: NDArray[np.int64], most: int) -> list[int]:
    """Take the smallest distance, strike out its row and column, and so on."""
    left = distances.copy()
    found = []
    while left.min() <= most:
        row, column = np.unravel_index(left.argmin(), left.shape)
        found.append(int(left[row, column]))
        left[row, :] = left[:, column] = np.iinfo(np.int64).max
    return found


def test_a_stamp_between_two_goes_to_the_nearer_and_equal_ones_each_to_one() -> None:
    first, second = associate(np.array([0, 10, 13]), np.array([12, 30, 100, 200]), 5e-9)
    assert (first.tolist(), second.tolist()) == ([2], [0])
    first, second = associate(np.array([5, 5]), np.array([3, 6, 50]), 5e-9)
    assert (first.tolist(), second.tolist()) == ([0, 1], [0, 1])
    first, second = associate(np.array([5]), np.array([], np.int64), 1.0)
    assert len(first) == len(second) == 0
