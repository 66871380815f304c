"""What correlation costs: lookups of 24 edges at 30x40 with 128 channels, as at 240x320 pixels.

    python benchmarks/slam_correlation.py

All in turns, so that a busy machine slows all of them alike; "processor" is the time that all
threads together spent computing, which other programs disturb less. "grid_sample" is PyTorch's
own sampling, which the product uses where there is CUDA or a gradient is wanted.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's customary name

from compressed_slam.correlation import Correlation, correlate, feature_pyramid

if TYPE_CHECKING:
    from collections.abc import Callable

EDGES, FRAMES, CHANNELS, HEIGHT, WIDTH = 24, 8, 128, 30, 40
ROUNDS = 30
MOTION = 4.0  # cells, standard deviation of a smooth flow


def positions(noise: torch.Generator) -> torch.Tensor:
    """Where a camera that moved would send the pixels: (edges, height, width, 2), smooth."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    flow = MOTION * torch.randn((EDGES, 2, 4, 5), generator=noise)
    smooth = F.interpolate(flow, size=(HEIGHT, WIDTH), mode="bilinear").permute(0, 2, 3, 1)
    return torch.stack((x, y), -1) + smooth


def main() -> None:
    """Time every way to look up, and what has to be done before."""
    noise = torch.Generator().manual_seed(0)
    maps = torch.randn((FRAMES, CHANNELS, HEIGHT, WIDTH), generator=noise)
    coords = positions(noise)
    tracked = coords.clone().requires_grad_()
    pyramids = [feature_pyramid(fmap) for fmap in maps]
    sources, targets = (
        [pyramids[k] for k in torch.randint(FRAMES, (EDGES,), generator=noise)] for _ in range(2)
    )
    correlation = Correlation()
    correlation.add(sources, targets)
    tasks: dict[str, Callable[[], object]] = {
        "24 edges, compiled": lambda: correlation.lookup(coords),
        "24 edges, whole maps and grid_sample": lambda: correlation.lookup(tracked),
        "whole maps of one edge": lambda: correlate(sources[0][0].flatten(0, 1), targets[0]),
        "one frame's pyramid": lambda: feature_pyramid(maps[0]),
    }
    wall: dict[str, list[float]] = {name: [] for name in tasks}
    busy: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()  # the first call compiles
    for _ in range(ROUNDS):
        for name, task in tasks.items():
            start, spent = time.perf_counter(), time.process_time()
            task()
            wall[name].append(1e3 * (time.perf_counter() - start))
            busy[name].append(1e3 * (time.process_time() - spent))
    print(f"{torch.get_num_threads()} threads, medians of {ROUNDS}\n")
    print("| what | time [ms] | processor [ms] |", "|---" * 3 + "|", sep="\n")
    for name in tasks:
        print(f"| {name} | {np.median(wall[name]):.1f} | {np.median(busy[name]):.1f} |")


if __name__ == "__main__":
    main()
