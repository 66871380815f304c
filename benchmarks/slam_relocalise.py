"""Single images looked for in a map of the shipped SLAM bundle: how many are found, how well.

    python benchmarks/slam_relocalise.py ../shared/data/slam/redkitchen@0:150 \
        --look ../shared/data/slam/redkitchen@100:250 --strange ../shared/data/slam/tartanair_room

makes a map of the first frames, saves it and loads it for every image anew. Those to `--look` for
are of the same recording, and are measured against where the map's own run put the camera, or,
after its end, against the true motion since then. None of the `--strange` ones may be found.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from compressed_slam.droid_operator import DroidOperator
from compressed_slam.engines import EngineNetworks
from compressed_slam.estimate import Health
from compressed_slam.map_files import read_map, write_map
from compressed_slam.offline.evaluating import open_part
from compressed_slam.saved_map import MapCamera
from compressed_slam.settings import preset
from compressed_slam.tracker import Tracker
from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engines
from edge_runtime.share import shipped_bundle

if TYPE_CHECKING:
    from edge_runtime.trajectory import Trajectory

TURNS = 4  # images of the same view; in each others of the keyframes are tried


def main() -> None:
    """Print how many images of each recording were found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("map", help="FOLDER[@FIRST:END]")
    parser.add_argument("--look", nargs="*", default=[], help="likewise")
    parser.add_argument("--strange", nargs="*", default=[], help="likewise")
    parser.add_argument("--every", type=int, default=10, help="image of those to look for")
    given = parser.parse_args()
    torch.set_num_threads(1)
    engines = open_engines(load_bundle(shipped_bundle("slam"), "slam"), threads=1)
    operator = DroidOperator(EngineNetworks({name: one.run for name, one in engines.items()}))
    recording = open_part(given.map, "rgbd")

    def tracker() -> Tracker:
        return Tracker(preset("tum"), operator, recording.camera, measures_depth=True)

    first = tracker()
    for frame in recording.frames():
        first.track(frame)
    first.finish()
    known = first.trajectory()
    with TemporaryDirectory() as folder:
        saved = first.saved_map(MapCamera.of("rgbd", recording.camera, None), np.eye(4))
        write_map(Path(folder) / "map", known, *first.points(), saved)
        size = sum(file.stat().st_size for file in (Path(folder) / "map").iterdir())
        saved = read_map(Path(folder) / "map")
    print(f"map: {len(known)} frames, {len(saved)} keyframes, {size / 1e6:.1f} MB")

    second = tracker()
    clock = 0
    for text in (*given.look, *given.strange):
        images, errors = 0, []
        for number, frame in enumerate(open_part(text, "rgbd").frames()):
            if number % given.every:
                continue
            images += 1
            second.continue_in(saved)
            for _ in range(TURNS):
                clock += 1
                told = second.track(replace(frame, stamp=clock))
                if told.health is Health.TRACKING:
                    place = expected(known, recording.truth, frame.stamp)
                    errors.append(float(np.linalg.norm(told.pose[:3].numpy() - place)))
                    break
        of = f", {np.median(errors):.3f} m off at the median" if errors else ""
        print(f"{text}: {len(errors)} of {images} found{of}")
    second.close()


def expected(known: Trajectory, truth: Trajectory, stamp: int) -> np.ndarray:
    """Where the camera is in the map at `stamp`, (3,)."""
    before = max(int(np.searchsorted(known.stamps, stamp, side="right")) - 1, 0)
    stamps = np.array([known.stamps[before], stamp])
    nearest = [int(np.abs(truth.stamps - each).argmin()) for each in stamps]
    there, now = truth[np.array(nearest)].matrices()
    place: np.ndarray = (known.matrices()[before] @ np.linalg.inv(there) @ now)[:3, 3]
    return place


if __name__ == "__main__":
    main()
