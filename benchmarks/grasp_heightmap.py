"""What a height map costs: one 640x480 image of colour and depth onto the table.

    python benchmarks/grasp_heightmap.py [--rounds 100]

A bumpy table that fills most of the image, with a tenth of the depth missing, seen obliquely.
Prints a Markdown table of milliseconds by the clock, and of processor time, which other programs
disturb less.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from compressed_grasp.heightmap import height_map
from compressed_grasp.workspace import Workspace

MATRIX = np.array([[618.62, 0, 320], [0, 618.62, 240], [0, 0, 1]])


def main() -> None:
    """Time both resolutions in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    rng = np.random.default_rng(0)
    tilt = np.radians(150.0)
    pose = np.eye(4)
    pose[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    pose[:3, 3] = (0, 0.4, 0.7)
    v = (np.arange(480.0)[:, None] - 240) / 618.62
    reach = pose[2, 1] * v + pose[2, 2]  # how far down one metre of depth leads
    bumps = rng.uniform(0, 0.05, (480, 640))
    depth = ((bumps - 0.7) / reach).astype(np.float32)
    depth[rng.random(depth.shape) < 0.1] = np.nan  # noqa: PLR2004
    color = rng.integers(0, 256, (480, 640, 3), np.uint8)
    spaces = {cells: Workspace.square(cells) for cells in (112, 224)}
    times: dict[int, list[tuple[float, float]]] = {cells: [] for cells in spaces}
    for _ in range(rounds):
        for cells, workspace in spaces.items():
            start = time.perf_counter(), time.process_time()
            made = height_map(color, depth, MATRIX, pose, workspace)
            end = time.perf_counter(), time.process_time()
            times[cells].append((end[0] - start[0], end[1] - start[1]))
    print("| cells | coverage | median ms | p95 ms | processor median ms |\n|---|---|---|---|---|")
    for cells, workspace in spaces.items():
        made = height_map(color, depth, MATRIX, pose, workspace)
        clock, processor = 1e3 * np.array(times[cells]).T
        print(
            f"| {cells}x{cells} | {made.coverage:.3f} | {np.median(clock):.2f} "
            f"| {np.percentile(clock, 95):.2f} | {np.median(processor):.2f} |"
        )


if __name__ == "__main__":
    main()
