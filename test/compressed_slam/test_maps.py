"""Maps on disk: what comes back of them, what is refused, and where a camera is found in them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

pytest.importorskip("numba", reason="numba comes with the extra [slam]")

from recordings import BASELINE, CAMERA, SECOND, Drive, Mode, Shot, walk

from compressed_slam.droid_operator import DroidOperator
from compressed_slam.engines import EngineNetworks
from compressed_slam.estimate import Health
from compressed_slam.map_files import KEYFRAMES, MANIFEST, read_map, write_map
from compressed_slam.offline.recorded import open_recording
from compressed_slam.saved_map import MapCamera
from compressed_slam.settings import preset
from compressed_slam.tracker import Tracker
from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engines
from edge_runtime.errors import SettingError
from edge_runtime.share import shipped_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from compressed_slam.matching import Operator

RATE = 12.0


def map_camera(mode: Mode) -> MapCamera:
    return MapCamera.of(mode, CAMERA, BASELINE if mode == "stereo" else None)


def save(tracker: Tracker, camera: MapCamera, folder: Path) -> None:
    points, colours = tracker.points()
    saved = tracker.saved_map(camera, np.eye(4))
    write_map(folder, tracker.trajectory(), points, colours, saved)


def knowing(shots: list[Shot], mode: Mode, **settings: Any) -> Drive:  # noqa: ANN401
    """A drive whose operator has the truth about the pictures of a map, too."""
    drive = Drive(mode, **settings)
    drive.shots |= {shot.stamp: shot for shot in shots}
    return drive


def later(shots: list[Shot]) -> list[Shot]:
    """The same views a day after."""
    return [replace(shot, stamp=shot.stamp + 86_400 * SECOND) for shot in shots]


def distances(drive: Drive, first: Drive) -> np.ndarray:
    """Metres from where the first drive now knows its frames to where the second told them."""
    known = dict(
        zip(
            first.tracker.trajectory().stamps.tolist(),
            first.tracker.trajectory().positions,
            strict=True,
        )
    )
    return np.array(
        [
            np.linalg.norm(each.pose[:3].numpy() - known[each.stamp - 86_400 * SECOND])
            for each in drive.estimates
        ]
    )


@pytest.mark.parametrize("mode", ["mono", "rgbd", "stereo"])
def test_a_camera_is_found_in_a_map_of_yesterday(mode: Mode, tmp_path: Path) -> None:
    shots = walk("wander", 1, 4.0, RATE)
    first = Drive(mode, noise=0.03)(shots)
    first.tracker.finish()
    save(first.tracker, map_camera(mode), tmp_path / "map")

    drive = knowing(shots, mode, noise=0.03)
    # In another room before.
    drive(replace(one, stamp=one.stamp + 9 * SECOND) for one in walk("wander", 3, 4.0, RATE)[:5])
    before = drive.estimates[-1]
    drive.tracker.continue_in(read_map(tmp_path / "map"))
    drive.estimates.clear()
    # The light is off first; then it stands where it had been in the middle of its walk.
    again = later(shots[30:60])
    drive([replace(again[0], stamp=again[0].stamp - SECOND, bgr=np.zeros_like(again[0].bgr))])
    assert drive.estimates.pop().health is Health.LOST
    drive(again)
    assert {each.health for each in drive.estimates} == {Health.TRACKING}
    assert distances(drive, first).max() < 0.05
    # The odometry goes on from where it was, and does not jump to the map.
    places = torch.stack([before.odometry, *(each.odometry for each in drive.estimates)])[:, :3]
    assert places.diff(dim=0).norm(dim=1).max() < 0.15
    assert len(drive.tracker.trajectory()) == len(again)
    drive.tracker.finish()


def test_another_room_is_not_taken_for_the_map_however_long(tmp_path: Path) -> None:
    shots = walk("wander", 1, 4.0, RATE)[:40]
    save(Drive("rgbd")(shots).tracker, map_camera("rgbd"), tmp_path / "map")
    drive = knowing(shots, "rgbd", patience=5)
    drive.tracker.continue_in(read_map(tmp_path / "map"))
    elsewhere = [
        replace(shot, pose=shot.pose + np.array([100.0, 0, 0, 0, 0, 0, 0]))
        for shot in later(walk("wander", 3, 4.0, RATE)[:20])
    ]
    drive(elsewhere)
    assert {each.health for each in drive.estimates} == {Health.LOST}
    drive(
        replace(shot, stamp=shot.stamp + SECOND * 60)
        for shot in later(walk("wander", 1, 4.0, RATE)[:3])
    )
    assert drive.estimates[-1].health is Health.TRACKING


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def claim(**values: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        (KEYFRAMES, cut, "is damaged, or was cut off"),
        (KEYFRAMES, flip, "is damaged, or was cut off"),
        (KEYFRAMES, lambda path: path.unlink(), "cannot be read"),
        (MANIFEST, cut, "is not JSON"),
        (MANIFEST, lambda path: path.unlink(), "cannot be read"),
        (MANIFEST, lambda path: path.write_bytes(b" " * 100_000), "more than any map"),
        (MANIFEST, claim(schema_version=2), "schema_version"),
        (MANIFEST, claim(keyframes=3), "does not hold the 3 keyframes"),
        (MANIFEST, claim(size=[1 << 20, 1 << 20]), "does not hold"),
    ],
)
def test_a_damaged_map_is_refused_in_one_line(
    small_map: Path, tmp_path: Path, file: str, damage: Callable[[Path], None], words: str
) -> None:
    folder = tmp_path / "map"
    folder.mkdir()
    for path in small_map.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    assert len(read_map(folder)) == 1
    damage(folder / file)
    with pytest.raises(SettingError, match=words) as refusal:
        read_map(folder)
    assert str(folder) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.fixture(scope="module")
def small_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "map"
    save(Drive("rgbd")(walk("wander", 1, 4.0, RATE)[:1]).tracker, map_camera("rgbd"), folder)
    return folder


def test_a_map_fits_its_own_camera_alone() -> None:
    mine = map_camera("stereo")
    assert mine.fits(map_camera("stereo"))
    fx, fy, cx, cy = mine.intrinsics
    others = [
        map_camera("rgbd"),
        replace(mine, size=(320, 240)),
        replace(mine, intrinsics=(1.01 * fx, fy, cx, cy)),
        replace(mine, intrinsics=(fx, fy, cx + 1, cy)),
        replace(mine, baseline=0.1),
    ]
    assert not any(mine.fits(other) for other in others)


@pytest.fixture(scope="module")
def shipped_operator() -> Iterator[Operator]:
    engines = open_engines(load_bundle(shipped_bundle("slam"), "slam"), threads=1)
    yield DroidOperator(EngineNetworks({name: one.run for name, one in engines.items()}))
    for engine in engines.values():
        engine.close()


def test_shipped_weights_find_a_real_camera_again_and_nobody_elses(
    shipped_operator: Operator, shared_data: Path, tmp_path: Path
) -> None:
    recording = open_recording(shared_data / "slam" / "redkitchen", rows=slice(90, 150, 6))
    camera = MapCamera.of("rgbd", recording.camera, None)
    taken = list(recording.frames())

    def tracker() -> Tracker:
        return Tracker(preset("tum"), shipped_operator, recording.camera, measures_depth=True)

    first = tracker()
    for frame in taken[:8]:
        first.track(frame)
    first.close()
    known = first.trajectory()
    save(first, camera, tmp_path / "map")

    second = tracker()
    second.continue_in(read_map(tmp_path / "map"))
    other = open_recording(shared_data / "slam" / "tartanair_room", rows=slice(0, 80, 40))
    for number, frame in enumerate(other.frames()):
        strange = replace(frame, stamp=number)
        assert second.track(strange).health is Health.LOST
    told = [second.track(frame) for frame in taken[5:8]]
    assert {each.health for each in told} == {Health.TRACKING}
    away = [
        np.linalg.norm(each.pose[:3].numpy() - place)
        for each, place in zip(told, known.positions[5:], strict=True)
    ]
    assert max(away) < 0.03
    second.close()
