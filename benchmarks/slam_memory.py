"""What memory SLAM holds, with networks of the published size, when all is as full as it gets.

    python benchmarks/slam_memory.py [--size 320x240]

A run fills its keyframes and its graphs only after many frames. Here they are filled at once, by
the classes that a run fills: all keyframes with their features, a frontend's graph, and a backend's
with a step of each. The weights are untrained ones, which take as much.
"""

from __future__ import annotations

import argparse
import resource

import numpy as np
import psutil
import torch

from compressed_slam import se3
from compressed_slam.droid_operator import DroidOperator
from compressed_slam.factor_graph import FactorGraph
from compressed_slam.frame import STRIDE, Frame
from compressed_slam.keyframes import Keyframes
from compressed_slam.network import DroidNet
from compressed_slam.proximity import neighbours
from compressed_slam.settings import preset

MB = 1 << 20


def tell(what: str) -> None:
    """One line of the table."""
    resident = psutil.Process().memory_info().rss / MB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
    print(f"| {what} | {resident:.0f} | {peak:.0f} |", flush=True)


def main() -> None:
    """Fill, and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="320x240")
    args = parser.parse_args()
    width, height = (int(side) for side in args.size.split("x"))
    settings = preset("tum")
    random = np.random.default_rng(0)
    print("| when | resident [MB] | peak [MB] |", "|---" * 3 + "|", sep="\n")
    tell("libraries loaded")
    operator = DroidOperator(DroidNet())
    keyframes = Keyframes(settings.max_keyframes, (height // STRIDE, width // STRIDE))
    for stamp in range(settings.max_keyframes):
        picture = random.integers(0, 255, (height, width, 3), np.uint8)
        frame = Frame(stamp, picture)
        keyframes.append(frame, operator.view(frame), se3.identity(), 1.0)
    tell(f"{len(keyframes)} keyframes seen")
    intrinsics = torch.tensor([width, width, width / 2, height / 2]) / STRIDE
    free = torch.arange(len(keyframes)) > 0

    def refined(copy: Keyframes, edges: int, *, lasting: bool) -> FactorGraph:
        graph = FactorGraph(
            copy,
            operator.matcher(lasting=lasting),
            intrinsics,
            None,
            depth_weight=0.05,
            lm=1e-4,
            ep=0.1,
        )
        # Of the backend's edges every keyframe has its share.
        graph.add(neighbours(0, len(copy), 4 if len(copy) < edges else 8)[-edges:])
        graph.refine(free)
        return graph

    frontend = refined(keyframes, settings.max_edges, lasting=True)
    tell(f"frontend with {len(frontend)} edges")
    backend = refined(keyframes.copy(), settings.max_backend_edges, lasting=False)
    tell(f"backend with {len(backend)} edges")


if __name__ == "__main__":
    main()
