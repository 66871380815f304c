from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

pytest.importorskip("numba", reason="numba comes with the extra [train]")

from edge_runtime.errors import SettingError
from edge_worlds.rooms.poses import rotation_matrix
from edge_worlds.rooms.renderer import Pinhole, render
from edge_worlds.rooms.room import Room, make_room
from edge_worlds.rooms.sequence import FrameSequence, RenderedFrame, Sensor, frames
from edge_worlds.rooms.trajectory import fast_rotation, still, wander

SEED = 3
CAMERA = Pinhole.with_view(160, 120)


@pytest.fixture(scope="module")
def room() -> Room:
    return make_room(SEED)


@pytest.fixture(scope="module")
def walk(room: Room) -> FrameSequence:
    return frames(room, wander(room, 0), CAMERA)


def world_points(frame: RenderedFrame, camera: Pinhole) -> np.ndarray:
    """What each pixel shows, (h, w, 3) metres in the room."""
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)])
    local = np.moveaxis(rays * frame.depth, 0, -1)
    points: np.ndarray = local @ rotation_matrix(frame.pose[3:]).T + frame.pose[:3]
    return points


def reprojected(
    one: RenderedFrame, other: RenderedFrame, camera: Pinhole
) -> tuple[np.ndarray, ...]:
    """Where the pixels of `one` are seen in `other`: x, y (h, w), and their depth from there."""
    local = (world_points(one, camera) - other.pose[:3]) @ rotation_matrix(other.pose[3:])
    depth = np.where(local[..., 2] > 0.1, local[..., 2], np.nan)
    x = camera.fx * local[..., 0] / depth + camera.cx
    y = camera.fy * local[..., 1] / depth + camera.cy
    return x.astype(np.float32), y.astype(np.float32), depth


def test_depth_ends_on_a_surface_and_nothing_is_in_the_way(walk: FrameSequence) -> None:
    for k in range(0, len(walk), 100):
        frame = walk[k]
        # Distances to surfaces share no code with the rays.
        points = world_points(frame, CAMERA)
        ends = points[::12, ::12]
        assert np.abs(walk.room.clearance(ends)).max() < 1e-5
        share = np.linspace(0.03, 0.99, 25)[:, None, None, None]
        before = frame.pose[:3] + share * (ends - frame.pose[:3])
        assert walk.room.clearance(before).min() > 0


def test_two_frames_agree_in_depth_and_colour(room: Room, walk: FrameSequence) -> None:
    camera = Pinhole.with_view(320, 240)
    sequence = frames(room, walk.trajectory, camera)
    for k in range(100, len(sequence) - 12, 300):
        one, other = sequence[k], sequence[k + 12]
        x, y, depth = reprojected(one, other, camera)
        inside = (x > 1) & (x < camera.width - 2) & (y > 1) & (y < camera.height - 2)
        assert inside.mean() > 0.3
        # On a plane inverse depth is linear in the picture: interpolation is exact.
        inverse = cv2.remap(1 / other.depth, x, y, cv2.INTER_LINEAR)
        ratio = inverse * depth
        visible = inside & (np.abs(ratio - 1) < 1e-3)
        # The rest is hidden from the other frame (then ratio > 1) or lies at an edge.
        assert visible.sum() > 0.85 * inside.sum()
        assert (inside & (ratio < 0.99)).sum() < 0.02 * inside.sum()
        there = cv2.remap(other.bgr, x, y, cv2.INTER_LINEAR)
        difference = cv2.absdiff(there, one.bgr)[visible]
        assert difference.mean() < 2
        astray = cv2.absdiff(np.roll(there, 3, axis=1), one.bgr)[visible]
        assert astray.mean() > 4 * difference.mean()


def test_a_pixel_shows_the_mean_of_what_it_covers(walk: FrameSequence) -> None:
    coarse, fine = Pinhole.with_view(80, 60), Pinhole.with_view(640, 480)
    for pose in walk.trajectory.poses[::400]:
        sharp = render(walk.room, fine, pose)[0]
        mean = cv2.resize(sharp, (80, 60), interpolation=cv2.INTER_AREA)
        filtered = cv2.absdiff(render(walk.room, coarse, pose)[0], mean).mean()
        aliased = cv2.absdiff(sharp[4::8, 4::8], mean).mean()
        assert filtered < 0.5 * aliased


def test_every_view_has_corners_all_over(walk: FrameSequence) -> None:
    for k in range(0, len(walk), 50):
        grey = cv2.cvtColor(walk[k].bgr, cv2.COLOR_BGR2GRAY)
        corners = cv2.goodFeaturesToTrack(grey, 1000, 0.01, 4)[:, 0]
        cells = {(int(x) // 40, int(y) // 40) for x, y in corners}
        assert len(corners) > 60
        assert len(cells) >= 10  # of 4 x 3


def test_intrinsics_place_the_picture(room: Room) -> None:
    pose = still(room, 0).poses[0]
    bgr, depth = render(room, CAMERA, pose)
    # A window of 70 x 50 pixels at (30, 40): the same rays, so the same depth.
    part = Pinhole(70, 50, CAMERA.fx, CAMERA.fy, CAMERA.cx - 30, CAMERA.cy - 40)
    window, nearer = render(room, part, pose)
    assert np.allclose(nearer, depth[40:90, 30:100], rtol=1e-6)
    # Its outermost pixels may miss the neighbour that would make them an edge.
    inner = np.s_[1:-1, 1:-1]
    assert np.array_equal(window[inner], bgr[40:90, 30:100][inner])
    flat = Pinhole(160, 60, CAMERA.fx, CAMERA.fy / 2, CAMERA.cx, (CAMERA.cy - 1) / 2)
    assert np.allclose(render(room, flat, pose)[1], depth[1::2], rtol=1e-6)
    assert render(room, Pinhole(1, 1, 50, 50, 0, 0), pose)[0].shape == (1, 1, 3)


def test_the_same_seeds_give_the_same_frames(room: Room, walk: FrameSequence) -> None:
    again = make_room(SEED)
    path = wander(again, 0)
    for sensor in (Sensor(), Sensor(noise=4, exposure=0.2, shutter=0.02)):
        first = frames(room, walk.trajectory, CAMERA, sensor)
        second = frames(again, path, CAMERA, sensor)
        for k in (0, 7, -1):
            assert np.array_equal(first[k].bgr, second[k].bgr)
            assert np.array_equal(first[k].depth, second[k].depth)
            assert np.array_equal(first[k].pose, second[k].pose)


def test_frames_by_number_are_those_in_turn(walk: FrameSequence) -> None:
    short = walk[5:8]
    for k, frame in zip(range(5, 8), short, strict=True):
        assert frame.stamp == walk.trajectory.stamps[k]
        assert np.array_equal(frame.pose, walk.trajectory.poses[k])
        assert np.array_equal(frame.bgr, walk[k - len(walk)].bgr)
    first, second, *_ = (frame.stamp for frame, _ in zip(walk, range(2), strict=False))
    assert (first, second) == (0.0, walk.trajectory.stamps[1])
    with pytest.raises(IndexError):
        walk[len(walk)]
    frame = walk[0]
    assert [part.shape for part in frame[1:]] == [(120, 160, 3), (120, 160), (7,)]
    assert [str(part.dtype) for part in frame[1:]] == ["uint8", "float32", "float64"]


def test_rooms_of_other_seeds_are_other_places(room: Room) -> None:
    other = make_room(SEED + 1)
    for each in (room, other):
        length, width, height = each.size
        assert 4 <= length <= 8
        assert 4 <= width <= 8
        assert 2.5 <= height <= 3
    colours = [
        np.mean([render(each, CAMERA, pose)[0] for pose in wander(each, 0).poses[::200]], (0, 1, 2))
        for each in (room, other)
    ]
    assert np.abs(colours[0] - colours[1]).max() > 10


def test_threads_may_render_at_the_same_time(walk: FrameSequence) -> None:
    numbers = list(range(0, len(walk), 200))
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(walk.__getitem__, numbers))
    for k, frame in zip(numbers, together, strict=True):
        assert np.array_equal(frame.bgr, walk[k].bgr)


def test_a_sensor_adds_noise_exposure_and_blur(room: Room) -> None:
    trajectory = still(room, 0, duration=6.0)
    clean = frames(room, trajectory, CAMERA)[0].bgr
    usual = (clean > 40) & (clean < 200)
    noisy = frames(room, trajectory, CAMERA, Sensor(noise=5))
    error = noisy[0].bgr.astype(float) - clean
    assert error[usual].std() == pytest.approx(5, abs=0.3)
    assert error[usual].mean() == pytest.approx(0, abs=0.3)
    assert not np.array_equal(noisy[0].bgr, noisy[1].bgr)
    exposed = frames(room, trajectory, CAMERA, Sensor(exposure=0.2))
    gain = [exposed[k].bgr[usual].mean() / clean[usual].mean() for k in range(0, len(exposed), 10)]
    assert min(gain) == pytest.approx(0.8, abs=0.02)
    assert max(gain) == pytest.approx(1.2, abs=0.02)
    turning = fast_rotation(room, 0)
    turns = np.abs(np.diff(turning.poses[:, 3:], axis=0)).sum(axis=1)
    fastest = int(turns.argmax())
    sharp = frames(room, turning, CAMERA)[fastest]
    blurred = frames(room, turning, CAMERA, Sensor(shutter=0.03))[fastest]
    steepness = [np.abs(np.diff(f.bgr.astype(int), axis=1)).mean() for f in (sharp, blurred)]
    assert steepness[1] < 0.8 * steepness[0]
    assert np.array_equal(sharp.depth, blurred.depth)


def test_refusals_say_what_is_allowed(room: Room) -> None:
    with pytest.raises(SettingError, match="0x120 pixels: give at least 1x1"):
        Pinhole(0, 120, 100, 100, 0, 0)
    with pytest.raises(SettingError, match="focal lengths above 0"):
        Pinhole(160, 120, -1, 100, 0, 0)
    inside_furniture = np.array([*room.solids.centre[1], 0, 0, 0, 1])
    outside = np.array([20.0, 0, 1, 0, 0, 0, 1])
    for pose in (inside_furniture, outside, np.full(7, np.nan), outside[:6]):
        with pytest.raises(SettingError, match=f"inside room {SEED} and outside its furniture"):
            render(room, CAMERA, pose)
    with pytest.raises(SettingError, match=r"sensor shutter 2\.0: give 0 to 0\.25"):
        Sensor(shutter=2.0)
    with pytest.raises(SettingError, match="sensor blur_poses 0: give 1 to 100"):
        Sensor(blur_poses=0)
