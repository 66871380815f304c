"""The whole system by an oracle: what tracking and mapping make of true, or nearly true, flow."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba comes with the extra [slam]")

from recordings import SECOND, Drive, Shot, darkened, truth_of, walk

from compressed_slam.estimate import Health
from edge_runtime.errors import MessageError

LIMIT = {"mono": 0.01, "rgbd": 0.005, "stereo": 0.005}  # of the way
ROOMS = range(5)
RATE = 12.0


def health(drive: Drive) -> list[Health]:
    return [estimate.health for estimate in drive.estimates]


def turns(poses: np.ndarray) -> np.ndarray:
    """Degrees between (n, 7) poses and the ones before them."""
    cosine = np.abs((poses[1:, 3:] * poses[:-1, 3:]).sum(axis=1))
    degrees: np.ndarray = np.degrees(2 * np.arccos(np.minimum(cosine, 1)))
    return degrees


@pytest.mark.parametrize("room", ROOMS)
def test_a_walk_through_a_room_is_followed(room: int) -> None:
    shots = walk("wander", room, 4.0, RATE)
    for mode in ("mono", "rgbd"):
        drive = Drive(mode)(shots)
        assert Health.LOST not in health(drive)
        assert health(drive)[-1] is Health.TRACKING
        drive.tracker.finish()
        assert len(drive.tracker.trajectory()) == len(shots)
        assert drive.error() < LIMIT[mode] * truth_of(shots).length, mode


@pytest.mark.parametrize("start", [0, 8])
def test_a_narrow_view_does_not_take_near_for_far(start: int) -> None:
    shots = walk("wander", 0, 4.0, RATE, degrees=55)[start : start + 40]
    drive = Drive("mono", noise=0.03, degrees=55)(shots)
    assert health(drive)[-1] is Health.TRACKING
    drive.tracker.finish()
    assert drive.error() < LIMIT["mono"] * truth_of(shots).length


def test_a_stereo_pair_gives_the_scale() -> None:
    shots = walk("wander", 1, 4.0, RATE)
    # Of the 1.6 pixels of disparity at a metre, a tenth of a pixel would be too much.
    drive = Drive("stereo", noise=0.03)(shots)
    assert health(drive)[1:] == [Health.TRACKING] * (len(shots) - 1)
    drive.tracker.finish()
    assert drive.error() < LIMIT["stereo"] * truth_of(shots).length


@pytest.mark.parametrize("mode", ["mono", "rgbd"])
def test_looking_around_fast_is_followed(mode: str) -> None:
    shots = walk("fast_rotation", 1, 4.0, RATE)
    assert turns(np.stack([shot.pose for shot in shots])).max() > 100 / RATE
    drive = Drive(mode)(shots)
    assert Health.LOST not in health(drive)
    drive.tracker.finish()
    assert drive.error() < LIMIT[mode] * truth_of(shots).length


def test_a_loop_is_closed_beside_tracking_and_odometry_does_not_jump() -> None:
    # The frontend looks at so few keyframes, and so wrong matches, that it drifts.
    shots = walk("loop", 1, 7.0, 12.0)
    drive = Drive("rgbd", noise=0.3, window=6)(shots)
    drifted = drive.error(drive.said("odometry"))
    # The whole map is refined in a thread, which may take longer than the end of the walk.
    for second in range(1, 50):
        closed = drive.error()
        if closed < 0.5 * drifted:
            break
        time.sleep(0.1)
        drive([replace(shots[-1], stamp=shots[-1].stamp + second * SECOND)])
    assert closed < 0.5 * drifted
    odometry, pose = drive.said("odometry"), drive.said("pose")
    drive.tracker.finish()

    def longest_step(positions: np.ndarray) -> float:
        return np.linalg.norm(np.diff(positions, axis=0), axis=1).max()

    assert longest_step(odometry.positions) < 0.5 * longest_step(pose.positions)


def test_a_camera_that_stands_still_makes_no_keyframes() -> None:
    shots = walk("still", 1, 2.0, RATE)
    drive = Drive("rgbd")(shots)
    assert [estimate.keyframe for estimate in drive.estimates] == [True] + [False] * (
        len(shots) - 1
    )
    assert np.ptp(drive.said("pose").positions, axis=0).max() < 0.03
    alone = Drive("mono")(shots)
    assert set(health(alone)) == {Health.INITIALISING}
    assert len(alone.tracker.known) == 1


@pytest.mark.parametrize("mode", ["mono", "rgbd"])
def test_turning_on_the_spot_is_followed(mode: str) -> None:
    shots = walk("pure_rotation", 1, 6.0, RATE)
    drive = Drive(mode, warm_up=6)(shots)
    assert Health.LOST not in health(drive)
    assert health(drive)[-1] is Health.TRACKING
    # The way that the camera turned since the first frame, whatever it was turned about.
    drive.tracker.finish()
    ours, truth = drive.tracker.trajectory().poses, truth_of(shots).poses
    ends = turns(ours[[0, -1]]), turns(truth[[0, -1]])
    assert ends[1] > 20
    assert abs(ends[0] - ends[1]) < 3
    if mode == "rgbd":
        assert np.ptp(ours[:, :3], axis=0).max() < 0.06


def test_a_blackout_of_any_length_is_survived() -> None:
    shots = darkened(walk("wander", 1, 4.0, RATE), 50, 56)
    drive = Drive("rgbd", patience=3)(shots)  # which pictures of nothing do not try
    assert health(drive)[50:56] == [Health.LOST] * 6
    assert health(drive)[56:] == [Health.TRACKING] * (len(shots) - 56)
    assert all(not estimate.covariance.isfinite().any() for estimate in drive.estimates[50:56])
    drive.tracker.finish()
    trajectory = drive.tracker.trajectory()
    assert len(trajectory) == len(shots) - 6
    assert drive.error() < LIMIT["rgbd"] * truth_of(shots).length


@pytest.mark.parametrize("mode", ["mono", "rgbd"])
def test_a_lost_camera_finds_back_to_what_it_saw_before(mode: str) -> None:
    shots = walk("wander", 2, 4.0, RATE)
    # It is carried back to where it was near the start, in the dark.
    again = [
        replace(shot, stamp=shots[-1].stamp + (index + 1) * SECOND // 12)
        for index, shot in enumerate(shots[12:48])
    ]
    route = [*shots, *darkened(again, 0, 10)]
    # What it finds is older than what the frontend works on, and no backend joins the two.
    drive = Drive(mode, window=10, backend_every=1000)(route)
    back = health(drive).index(Health.TRACKING, len(shots) + 10)
    assert set(health(drive)[back:]) == {Health.TRACKING}
    # Twice as much without the edges to what was found.
    assert drive.error() < 1.5 * LIMIT[mode] * truth_of(shots).length


def test_a_gap_of_two_seconds_is_survived() -> None:
    shots = walk("loop", 1, 7.0, RATE)
    gap = int(2 * RATE)
    drive = Drive("rgbd")([*shots[:60], *shots[60 + gap :]])
    assert health(drive)[-1] is Health.TRACKING
    assert health(drive).count(Health.LOST) < len(shots) / 2


def test_who_stays_lost_begins_a_new_map() -> None:
    first, second = walk("wander", 1, 4.0, RATE)[:40], walk("wander", 3, 4.0, RATE)
    later = [
        replace(
            shot,
            stamp=shot.stamp + 10 * SECOND,
            # Far away in the same world.
            pose=shot.pose + np.array([100.0, 0, 0, 0, 0, 0, 0]),
        )
        for shot in second[:60]
    ]
    drive = Drive("rgbd", patience=10)([*first, *later])
    states = health(drive)[40:]
    assert states[:10] == [Health.LOST] * 10
    assert set(states[14:]) == {Health.TRACKING}
    trajectory = drive.tracker.trajectory()
    assert len(trajectory) > 40 + 40
    # The new map's poses are right among themselves, and go on from the last known one.
    new = trajectory.stamps >= 10 * SECOND
    known = {shot.stamp: shot.pose for shot in later}
    true = np.array([known[stamp] for stamp in trajectory.stamps[new].tolist()])
    ours = trajectory.poses[new]
    way = np.linalg.norm(true[-1, :3] - true[0, :3])
    assert abs(np.linalg.norm(ours[-1, :3] - ours[0, :3]) - way) < 0.02 * max(way, 1)
    assert np.linalg.norm(ours[0, :3] - trajectory.poses[~new][-1, :3]) < 0.2


def test_repeated_frames_change_nothing() -> None:
    shots = walk("wander", 1, 4.0, RATE)[:60]
    twice: list[Shot] = []
    for index, shot in enumerate(shots):
        twice += [shot, shot if index % 2 else replace(shot, stamp=shot.stamp + SECOND // 100)]
    drive = Drive("rgbd")(twice)
    assert Health.LOST not in health(drive)
    assert len(drive.tracker.trajectory()) == len(twice)
    assert drive.error() < LIMIT["rgbd"] * truth_of(shots).length


def test_a_frame_from_the_past_is_refused_and_the_next_one_tracked() -> None:
    shots = walk("wander", 1, 4.0, RATE)
    drive = Drive("rgbd")(shots[:10])
    with pytest.raises(MessageError, match="came after"):
        drive.tracker.track(drive.frame(shots[4]))
    drive(shots[10:12])
    assert health(drive)[-1] is Health.TRACKING


def test_a_map_begins_with_the_first_frame_that_has_depth() -> None:
    shots = walk("wander", 1, 4.0, RATE)[:12]
    blind = [replace(shot, depth=np.full_like(shot.depth, np.nan)) for shot in shots[:4]]
    drive = Drive("rgbd")([*blind, *shots[4:]])
    assert not any(estimate.keyframe for estimate in drive.estimates[:4])
    assert drive.estimates[4].keyframe
    assert health(drive)[5:] == [Health.TRACKING] * 7


def test_a_stereo_map_begins_with_the_first_pair() -> None:
    shots = walk("wander", 1, 4.0, RATE)[:10]
    drive = Drive("stereo", noise=0.03)
    alone = [replace(drive.frame(shot), right=None) for shot in shots[:3]]
    drive.shots = {shot.stamp: shot for shot in shots}
    assert not any(drive.tracker.track(frame).keyframe for frame in alone)
    drive(shots[3:])
    assert health(drive)[1:] == [Health.TRACKING] * 6
    assert drive.error() < 0.01


def test_no_map_begins_in_the_dark() -> None:
    shots = walk("wander", 1, 4.0, RATE)[:30]
    for mode in ("mono", "rgbd"):
        drive = Drive(mode, patience=3, warm_up=4)(darkened(shots, 0, 12))
        assert not any(estimate.keyframe for estimate in drive.estimates[:12])
        assert drive.estimates[12].keyframe
        assert drive.tracker.trajectory().stamps[0] == shots[12].stamp


def test_a_frame_of_another_size_is_refused_and_the_next_one_tracked() -> None:
    shots = walk("wander", 1, 4.0, RATE)[:12]
    drive = Drive("rgbd")(shots[:6])
    for part in ("bgr", "depth"):
        cut = replace(shots[6], **{part: getattr(shots[6], part)[:64]})
        with pytest.raises(MessageError, match=f"{part} is 160x64, .* 160x128"):
            drive.tracker.track(drive.frame(cut))
    drive(shots[6:])
    assert health(drive)[1:] == [Health.TRACKING] * 11
    assert drive.error() < 0.01


def test_few_keyframes_stay_in_memory_and_all_poses_are_known() -> None:
    shots = walk("wander", 1, 4.0, RATE)
    every = {"motion_threshold": 0.3, "keyframe_threshold": 0.1}
    drive = Drive("rgbd", max_keyframes=32, window=10, backend_every=4, **every)
    most = 0
    for shot in shots:
        drive([shot])
        most = max(most, len(drive.tracker.known))
    assert sum(estimate.keyframe for estimate in drive.estimates) > 40
    drive.tracker.finish()
    assert most == 32
    assert len(drive.tracker.trajectory()) == len(shots)
    assert drive.error() < LIMIT["rgbd"] * truth_of(shots).length
