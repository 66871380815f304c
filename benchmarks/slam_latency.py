"""What a picture and a keyframe cost the processor, and which part of that the networks are.

    python benchmarks/slam_latency.py BUNDLE [--sequence FOLDER[@FIRST:END]] [--mode rgbd]
        [--precision int8]

One thread, all mapping done in the call. Processor time, which other programs disturb less than the
clock: with two cores to itself a call takes less, on a busy machine more than this. A picture is
matched once where it is where it was expected, else twice; hence the gap between median and 95th
percentile. Edges are those that `update` was asked for, each as often as it was: two for each time
that a picture is matched.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from compressed_slam.droid_operator import DroidOperator
from compressed_slam.engines import MODELS, EngineNetworks
from compressed_slam.estimate import Health
from compressed_slam.offline.evaluating import open_part
from compressed_slam.settings import preset
from compressed_slam.tracker import Tracker
from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engines

if TYPE_CHECKING:
    from compressed_slam.engines import Run

SEQUENCE = "../shared/data/slam/redkitchen@200:400"


class Clock:
    """Adds up the processor time that engines take, by model, and the edges that are matched."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget what was added up."""
        self.spent: dict[str, float] = defaultdict(float)
        self.edges = 0

    def timed(self, name: str, run: Run) -> Run:
        """Return the engine, watched."""

        def watched(inputs: dict[str, Any]) -> dict[str, Any]:
            start = time.thread_time()
            outputs = run(inputs)
            self.spent[name] += 1e3 * (time.thread_time() - start)
            self.edges += len(inputs["net"]) if name == "update" else 0
            return outputs

        return watched


def main() -> None:
    """Track, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--sequence", default=SEQUENCE)
    parser.add_argument("--mode", choices=("mono", "rgbd", "stereo"), default="rgbd")
    parser.add_argument("--precision", choices=("fp32", "fp16", "int8"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    bundle = load_bundle(args.bundle, "slam")
    engines = open_engines(bundle, threads=1, precision=args.precision)
    for engine in engines.values():
        engine.warm_up()
    clock = Clock()
    networks = EngineNetworks({name: clock.timed(name, e.run) for name, e in engines.items()})
    recording = open_part(args.sequence, args.mode)
    tracker = Tracker(
        preset(recording.preset),
        DroidOperator(networks),
        recording.camera,
        baseline=recording.baseline,
        measures_depth=args.mode == "rgbd",
    )
    pictures: list[list[float]] = []
    keyframes: list[list[float]] = []
    for frame in recording.frames():
        clock.begin()
        start = time.thread_time()
        estimate = tracker.track(frame)
        total = 1e3 * (time.thread_time() - start)
        parts = [clock.spent[name] for name in MODELS]
        row = [clock.edges, *parts, total - sum(parts), total]
        if estimate.health is Health.TRACKING:
            (keyframes if estimate.keyframe else pictures).append(row)
    tracker.close()
    columns = ("edges", *MODELS, "the rest", "whole", "whole, p95")
    print(f"| processor time, median [ms] | {' | '.join(columns)} |")
    print("|---" * (len(columns) + 1) + "|")
    for name, rows in (("picture", pictures), ("keyframe", keyframes)):
        medians = np.median(rows, axis=0)
        cells = [*medians[1:], np.percentile(rows, 95, axis=0)[-1]]
        shown = " | ".join(f"{cell:.1f}" for cell in cells)
        print(f"| {name} ({len(rows)}) | {medians[0]:.0f} | {shown} |")


if __name__ == "__main__":
    main()
