"""How well single images are located by another one that is far away, by networks and by features.

    python benchmarks/slam_far_pairs.py BUNDLE [--sequences FOLDER[@FIRST:END[:EVERY]] ...]

RGB-D; every image of a sequence is located by the depth of the one before it: by the INT8 networks
from no motion, as tracking does without features; by features matched anywhere; and by the networks
from there. A line tells the share of pairs within 10 cm and 5 degrees of the truth, the median
error of the position and the processor time; then the median errors by how sure the networks were.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch

from compressed_slam import se3
from compressed_slam.droid_operator import DroidOperator
from compressed_slam.engines import EngineNetworks
from compressed_slam.frame import map_intrinsics
from compressed_slam.localiser import Localiser
from compressed_slam.offline.evaluating import open_part
from compressed_slam.snapshot import Snapshot
from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engines

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from compressed_slam.localiser import Localisation
    from compressed_slam.matching import View
    from compressed_slam.offline.recorded import Recording

DATA = Path("../shared/data/slam")
SEQUENCES = [
    str(DATA / name)
    for name in ("fr3_cabinet", "redkitchen@0:400:20", "fr1_rpy@0:140:6", "hololens@0:250:6")
]
NEAR_M, NEAR_DEG = 0.1, 5.0
SURE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 1.0)
WAYS = ("networks", "features", "networks from there")


class Answer(NamedTuple):
    """What one way makes of one pair: metres, degrees, milliseconds, and how sure it is."""

    metres: float
    degrees: float
    ms: float
    confidence: float


def located(find: Callable[[], Localisation | None], true: Tensor) -> tuple[Answer, Tensor]:
    """Locate, and compare with the true pose (7,); what is not found is infinitely far away."""
    start = time.process_time()
    found = find()
    ms = 1e3 * (time.process_time() - start)
    if found is None:
        return Answer(np.inf, np.inf, ms, 0.0), se3.identity()
    pose = found.located.pose
    off = se3.compose(se3.inverse(pose), true)
    degrees = np.degrees(2 * np.arcsin(min(1.0, off[3:6].norm().item())))
    metres = (se3.inverse(pose) - se3.inverse(true))[:3].norm().item()
    return Answer(metres, degrees, ms, found.confidence), pose


def pair_answers(operator: DroidOperator, recording: Recording) -> list[list[Answer]]:
    """Return what each of `WAYS` makes of every pair."""
    localiser = Localiser(operator, map_intrinsics(recording.camera))
    answers: list[list[Answer]] = []
    before: tuple[View, Tensor, Tensor] | None = None
    for frame in recording.frames():
        if frame.disp is None:
            continue
        view = operator.view(frame)
        nearest = int(np.abs(recording.truth.stamps - frame.stamp).argmin())
        place = se3.inverse(torch.from_numpy(recording.truth.poses[nearest]))
        if before is not None:
            answers.append(_of_pair(localiser, before, view, place))
        before = view, frame.disp, place
    return answers


def _of_pair(
    localiser: Localiser, before: tuple[View, Tensor, Tensor], view: View, place: Tensor
) -> list[Answer]:
    seen, disp, there = before
    origin = se3.identity()
    true = se3.compose(place, se3.inverse(there)).float()
    known = Snapshot(0, True, [0], [0], origin[None], disp[None], [1.0], [seen], 0)  # noqa: FBT003
    near, _ = located(lambda: localiser.locate(view, origin, known, [0]), true)
    far, guess = located(lambda: localiser.locate_anywhere(view, known, [0]), true)
    both, _ = located(lambda: localiser.locate(view, guess, known, [0]), true)
    return [near, far, both]


def main() -> None:
    """Locate and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--sequences", nargs="*", default=SEQUENCES)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    engines = open_engines(load_bundle(args.bundle, "slam"), threads=1, precision="int8")
    operator = DroidOperator(EngineNetworks({name: each.run for name, each in engines.items()}))
    for text in args.sequences:
        answers = np.array(pair_answers(operator, open_part(text, "rgbd")))
        print(f"{text}: {len(answers)} pairs", flush=True)
        near = (answers[..., 0] < NEAR_M) & (answers[..., 1] < NEAR_DEG)
        for row, way in enumerate(WAYS):
            error, took = np.median(answers[:, row, 0]), answers[:, row, 2].mean()
            print(f"  {way}: {near[:, row].mean():.2f}, {error:.4f} m, {took:.1f} ms", flush=True)
        sure = answers[:, 0, 3]
        for low, high in pairwise(SURE):
            these = answers[(sure >= low) & (sure < high)]
            if len(these):
                medians = ", ".join(f"{error:.4f}" for error in np.median(these[..., 0], axis=0))
                print(f"  networks {low} to {high} sure, {len(these)} pairs: {medians}", flush=True)


if __name__ == "__main__":
    main()
