"""How long a decision takes: colour and depth in, action out, beside the network of VPG.

    python benchmarks/grasp_decision.py [--bundle DIR] [--rotations 1] [--rounds 200]

Times what the node does, without ROS: a 640x480 image of a packed group to its height map, the
bundle's engine in each precision, and the choice. VPG's network runs in PyTorch, float32, on as
many threads, for some of its 16 rotations; the others cost the same. One process. Prints a
Markdown table.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch

from compressed_grasp.network import GraspNet
from compressed_grasp.planner import GraspPlanner, Settings, View
from compressed_grasp.vpg import ROTATIONS, VPGNet
from edge_compression.measure import macs
from edge_runtime.bundle import load_bundle
from edge_runtime.calibration import Calibration
from edge_runtime.engine import open_engine
from edge_runtime.share import shipped_bundle
from edge_worlds.tabletop.camera import REAL, oblique_camera, take_picture
from edge_worlds.tabletop.scene import packed_group
from edge_worlds.tabletop.world import TabletopWorld


def view() -> View:
    """Look at a packed group with a real camera."""
    world = TabletopWorld(packed_group(np.random.default_rng(0), 5))
    picture = take_picture(world, oblique_camera(), REAL)
    camera = Calibration(640, 480, picture.matrix, np.zeros(5), "plumb_bob")
    return View(picture.color, picture.depth, camera, picture.camera_pose, 0.0)


def decisions(bundle: Path, precision: str, threads: int, rounds: int) -> np.ndarray:
    """Return the milliseconds of `rounds` decisions."""
    loaded = load_bundle(bundle, "grasp")
    engine = open_engine(loaded, threads=threads, precision=precision)
    planner = GraspPlanner.from_bundle(loaded, engine.run, Settings())
    seen = view()
    times = []
    for k in range(rounds + 5):
        begin = time.perf_counter()
        planner.decide(planner.look(seen), float(k))
        times.append(time.perf_counter() - begin)
    return 1e3 * np.array(times[5:])


def baseline(threads: int, rotations: int) -> float:
    """Return the milliseconds of a decision of VPG's network."""
    torch.set_num_threads(threads)
    network = VPGNet()
    image = torch.rand(1, 3, 640, 640)
    with torch.no_grad():
        network(image, image, [0])
        begin = time.perf_counter()
        network(image, image, range(rotations))
        return 1e3 * (time.perf_counter() - begin) * ROTATIONS / rotations


def main() -> None:
    """Time both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rotations", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    bundle = arguments.bundle or shipped_bundle("grasp")
    ours = macs(GraspNet(), {"height": torch.zeros(1, 1, 112, 112)})
    image = torch.empty((1, 3, 640, 640), device="meta")
    trunk = macs(VPGNet().to("meta").push_color_trunk.features, {"image": image})
    theirs = 4 * ROTATIONS * trunk
    print(f"| policy, {arguments.threads} threads | MACs | p50 [ms] | p95 [ms] | times faster |")
    print("|---|---|---|---|---|")
    slow = baseline(arguments.threads, arguments.rotations)
    print(f"| VPG, PyTorch fp32, network alone | {theirs / 1e12:.2f} T | {slow:,.0f} | | 1 |")
    for precision in ("fp32", "fp16", "int8"):
        times = decisions(bundle, precision, arguments.threads, arguments.rounds)
        p50, p95 = np.percentile(times, (50, 95))
        print(
            f"| compact, {precision}, image to action | {ours / 1e6:.0f} M | {p50:.2f} | {p95:.2f} "
            f"| {slow / p50:,.0f} |"
        )
    print(f"\nMACs: {theirs / ours:,.0f} times fewer")


if __name__ == "__main__":
    main()
