"""What SLAM's geometry costs: dense bundle adjustment, one frame's pose, distances of keyframes.

    python benchmarks/slam_bundle_adjustment.py [--device cuda] [--rounds 50]

Keyframes that pass a bumpy wall, disturbed, with maps of 30x40 (a picture of 240x320). All cases in
turns, so that a busy machine slows all of them alike. Prints a Markdown table of medians: by the
clock, and by the time that all processor threads together worked, which other programs disturb
less.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from compressed_slam import se3
from compressed_slam.bundle_adjustment import Edges, adjust
from compressed_slam.location import Landmarks
from compressed_slam.projection import frame_distance, pixel_grid, project

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

HEIGHT, WIDTH = 30, 40


def wall(count: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Poses, disparities and intrinsics of `count` keyframes."""
    steps = torch.arange(count, device=device, dtype=torch.float32)
    place = (0.08 * steps, 0.03 * steps.sin(), 0.05 * (steps / 3).sin())
    turn = (0.02 * (2 * steps).sin(), 0.04 * steps.sin(), 0.02 * steps.cos())
    poses = se3.exp(torch.stack([*place, *turn], dim=-1))
    x, y = pixel_grid(HEIGHT, WIDTH, device=device).unbind(-1)
    disps = 0.6 + 0.25 * (x / 7 + steps[:, None, None]).sin() * (y / 5).cos()
    return poses, disps, torch.tensor([60.0, 60, 20, 15], device=device)


def nearest(count: int, edges: int, device: str) -> tuple[Tensor, Tensor]:
    """So many edges, those between keyframes near each other first."""
    apart = [(abs(i - j), max(i, j), i, j) for i in range(count) for j in range(count) if i != j]
    ii, jj = torch.tensor([pair[2:] for pair in sorted(apart)[:edges]], device=device).T
    return ii, jj


def cases(device: str) -> dict[str, Callable[[], object]]:
    """Return what to time, by name; everything waits for its result."""

    def adjustment(
        count: int, edges: int, *, depth: bool = False, moves_depth: bool = True
    ) -> Callable[[], object]:
        poses, disps, intrinsics = wall(count, device)
        ii, jj = nearest(count, edges, device)
        target, _ = project(poses, disps, intrinsics, ii, jj)
        seen = Edges(ii, jj, target, torch.rand_like(target))
        eta = torch.full_like(disps, 1e-3)[torch.unique(ii)] if moves_depth else None
        free = torch.arange(count, device=device) >= 1
        start = se3.retract(poses, 0.01 * torch.randn(count, 6, device=device))
        guess = disps * (1 + 0.1 * (torch.rand_like(disps) - 0.5))
        measured = disps if depth else None
        return lambda: adjust(start, guess, intrinsics, seen, eta, free=free, measured=measured)

    def localisation(edges: int) -> Callable[[], object]:
        poses, disps, intrinsics = wall(edges + 1, device)
        ii = torch.arange(edges, device=device)
        jj = torch.full_like(ii, edges)
        target, _ = project(poses, disps, intrinsics, ii, jj)
        weight, guess = torch.rand_like(target), se3.retract(poses[-1], 0.01 * torch.ones(6))

        def find() -> object:
            known = Landmarks(poses[:-1], disps[:-1], intrinsics)
            known.seen_from(guess)
            return known.locate(guess, target, weight)

        return find

    def distances(count: int) -> Callable[[], object]:
        poses, disps, intrinsics = wall(count, device)
        ii, jj = torch.triu_indices(count, count, 1, device=device)
        return lambda: frame_distance(poses, disps, intrinsics, ii, jj, beta=0.3).tolist()

    return {
        "adjust, 8 keyframes, 24 edges": adjustment(8, 24),
        "adjust with depth, 8 keyframes, 24 edges": adjustment(8, 24, depth=True),
        "adjust poses only, 8 keyframes, 24 edges": adjustment(8, 24, moves_depth=False),
        "adjust, 25 keyframes, 96 edges": adjustment(25, 96),
        "adjust, 60 keyframes, 888 edges": adjustment(60, 888),
        "locate, 1 edge": localisation(1),
        "locate, 3 edges": localisation(3),
        "distances, 25 keyframes, 300 pairs": distances(25),
    }


def main() -> None:
    """Time every case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=50)
    args = parser.parse_args()
    torch.manual_seed(0)
    timed = cases(args.device)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in timed}
    for _ in range(args.rounds + 1):
        for name, run in timed.items():
            start = time.perf_counter(), time.process_time()
            run()
            end = time.perf_counter(), time.process_time()
            times[name].append((1e3 * (end[0] - start[0]), 1e3 * (end[1] - start[1])))
    print(f"{args.device}, {torch.get_num_threads()} threads; `adjust` and `locate` step twice.\n")
    print("| case | clock p50 [ms] | processor p50 [ms] |", "|---" * 3 + "|", sep="\n")
    for name, rows in times.items():
        clock, processor = np.median(rows[1:], axis=0)  # the first warms up
        print(f"| {name} | {clock:.1f} | {processor:.1f} |")


if __name__ == "__main__":
    main()
