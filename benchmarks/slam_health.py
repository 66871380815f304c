"""Whether SLAM says that it cannot be trusted before its trajectory is wrong.

    python benchmarks/slam_health.py BUNDLE [--sequence FOLDER[@FIRST:END]]

RGB-D; the pictures of thirty frames, in the middle of the sequence, get worse and worse: they fade
to grey, blur, or a hand comes before the lens from the side; depth stays. Before that, to compare,
they are left as they are. One line for six frames, by the number of their first since it began: how
far the odometry has moved wrongly since then (the largest error), the standard deviation that is
claimed of the position (the largest), the matches' confidence (the mean), and how many frames were
lost. Lost frames have an infinite one, and are told where the camera was last known to be.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from compressed_slam.droid_operator import DroidOperator
from compressed_slam.engines import EngineNetworks
from compressed_slam.estimate import Health
from compressed_slam.offline.evaluating import open_part
from compressed_slam.settings import preset
from compressed_slam.tracker import Tracker
from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engines
from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from compressed_slam.engines import Run
    from compressed_slam.estimate import Estimate
    from compressed_slam.offline.recorded import Recording

    Picture = NDArray[np.uint8]

SEQUENCE = "../shared/data/slam/redkitchen@0:90"
BAD, GROUP = 30, 6  # frames that are made worse, and frames to a line
STRONGEST_BLUR = 12.0  # pixels


def unchanged(bgr: Picture, share: float) -> Picture:
    """Leave it: what happens without any harm."""
    del share
    return bgr


def faded(bgr: Picture, share: float) -> Picture:
    """Let contrast go."""
    return np.rint(128 + (1 - share) * (bgr.astype(np.float32) - 128)).astype(np.uint8)


def blurred(bgr: Picture, share: float) -> Picture:
    """Put it out of focus."""
    return np.asarray(cv2.GaussianBlur(bgr, (0, 0), STRONGEST_BLUR * share), np.uint8)


def covered(bgr: Picture, share: float) -> Picture:
    """Cover it from the left."""
    hidden = bgr.copy()
    hidden[:, : round(share * bgr.shape[1])] = 20
    return hidden


WORSE: Mapping[str, Callable[[Picture, float], Picture]] = {
    "stays good": unchanged,
    "fades": faded,
    "blurs": blurred,
    "is covered": covered,
}


def follow(
    runs: Mapping[str, Run], recording: Recording, worsen: Callable[[Picture, float], Picture]
) -> tuple[list[Estimate], int]:
    """Return what was said of every frame, and which was the first bad one."""
    tracker = Tracker(
        preset(recording.preset),
        DroidOperator(EngineNetworks(runs)),
        recording.camera,
        measures_depth=True,
    )
    frames = list(recording.frames())
    first = (len(frames) - BAD) // 2
    estimates = []
    for number, frame in enumerate(frames):
        share = (number - first + 1) / BAD
        if 0 < share <= 1:
            frame = replace(frame, bgr=worsen(frame.bgr, share))  # noqa: PLW2901
        estimates.append(tracker.track(frame))
    tracker.close()
    return estimates, first


def rows(recording: Recording, estimates: list[Estimate], first: int) -> list[str]:
    """Return the lines of a table, without the first cell."""
    stamps = np.array([each.stamp for each in estimates])
    told = Trajectory(stamps, np.array([each.odometry.double().numpy() for each in estimates]))
    nearest = np.abs(recording.truth.stamps[:, None] - stamps).argmin(0)
    ours, true = told.matrices(), recording.truth[nearest].matrices()
    moved, meant = (np.linalg.inv(poses[first - 1]) @ poses for poses in (ours, true))
    errors = np.linalg.norm(moved[:, :3, 3] - meant[:, :3, 3], axis=1)
    claims = [each.covariance.diagonal()[:3].sum().sqrt().item() for each in estimates]
    lines = []
    for start in range(first - GROUP, len(estimates) - GROUP + 1, GROUP):
        part = slice(start, start + GROUP)
        lost = np.mean([each.health is Health.LOST for each in estimates[part]])
        confidence = np.mean([each.confidence for each in estimates[part]])
        lines.append(
            f"{start - first} | {errors[part].max():.3f} | {max(claims[part]):.3f} "
            f"| {confidence:.2f} | {100 * lost:.0f} %"
        )
    return lines


def main() -> None:
    """Track and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--sequence", default=SEQUENCE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    engines = open_engines(load_bundle(args.bundle, "slam"), threads=1)
    runs = {name: engine.run for name, engine in engines.items()}
    print("| the picture | frame | error [m] | claimed [m] | confidence | lost |")
    print("|---" * 6 + "|")
    for name, worsen in WORSE.items():
        recording = open_part(args.sequence, "rgbd")
        for line in rows(recording, *follow(runs, recording, worsen)):
            print(f"| {name} | {line} |", flush=True)


if __name__ == "__main__":
    main()
