"""What a decision costs: a 640x480 RGB-D view of a pile, height map, network, choice of the action.

    python benchmarks/grasp_decision.py [--bundle DIR] [--rounds 200] [--threads 1]

Prints a Markdown table of milliseconds by the clock for each engine of the bundle that runs here,
and of processor time, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from compressed_grasp.planner import GraspPlanner, Settings, View
from edge_runtime.bundle import load_bundle
from edge_runtime.calibration import Calibration
from edge_runtime.engine import open_engine
from edge_runtime.latency import Stopwatch
from edge_runtime.share import shipped_bundle
from edge_worlds.tabletop.camera import REAL, oblique_camera, take_picture
from edge_worlds.tabletop.scene import random_pile
from edge_worlds.tabletop.world import TabletopWorld


def look(seed: int) -> View:
    """Take a picture of a pile of ten, with a real camera's faults."""
    rng = np.random.default_rng(seed)
    picture = take_picture(TabletopWorld(random_pile(rng, 10)), oblique_camera(), REAL, rng)
    height, width = picture.depth.shape
    camera = Calibration(width, height, picture.matrix, np.zeros(0), "plumb_bob")
    return View(picture.color, picture.depth, camera, picture.camera_pose, 1.0)


def main() -> None:
    """Time each engine on the same views."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=None)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    bundle = load_bundle(args.bundle or shipped_bundle("grasp"), "grasp")
    views = [look(seed) for seed in range(5)]
    print(
        "| engine | heightmap ms | engine ms | choice ms | total p50 ms | total p95 ms "
        "| processor ms |\n|---|---|---|---|---|---|---|"
    )
    for precision in sorted({engine.precision for engine in bundle.manifest.engines.values()}):
        engine = open_engine(bundle, "cpu", args.threads, precision)
        planner = GraspPlanner.from_bundle(bundle, engine.run, Settings())
        engine.warm_up()
        stages: list[dict[str, float]] = []
        processor = []
        for number in range(args.rounds):
            stopwatch, start = Stopwatch(), time.process_time()
            with stopwatch.stage("total"):
                with stopwatch.stage("heightmap"):
                    seen = planner.look(views[number % len(views)])
                planner.decide(seen, float(number), stopwatch)
            processor.append(1e3 * (time.process_time() - start))
            stages.append(stopwatch.stages)
        medians = [
            np.median([each[name] for each in stages]) for name in ("heightmap", "engine", "choice")
        ]
        total = [each["total"] for each in stages]
        print(
            f"| {engine.describe()['file']} | {' | '.join(f'{each:.2f}' for each in medians)} "
            f"| {np.median(total):.2f} | {np.percentile(total, 95):.2f} "
            f"| {np.median(processor):.2f} |"
        )
        engine.close()


if __name__ == "__main__":
    main()
