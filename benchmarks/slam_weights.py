"""Which of several weights of SLAM are best: positions of tracked recordings, and flow of pairs.

    python benchmarks/slam_weights.py CHECKPOINT|BUNDLE ... [--rooms 2] [--pairs 32] [--threads 1]
        [--sequences FOLDER[@FIRST:END[:EVERY]] ...] [--mono FOLDER[@FIRST:END[:EVERY]] ...]

Checkpoints in float32 by torch, of bundles the INT8 engines; pictures of 320x240. First the flow of
pairs of the rooms and of `fr3_cabinet`, none of which are trained on (share of the visible samples
off by less than a pixel). Then ATE in metres: RGB-D aligned rigidly, a single camera (`--mono`, and
every room once more) with scale; a frame that was lost counts as where the camera was last known to
be. The rooms are those of `compress evaluate slam --rooms`. The last line is the geometric mean of
the ATE over all recordings, as a share of the first weights'.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from compressed_slam.engines import EngineNetworks
from compressed_slam.offline.accuracy import pair_flow
from compressed_slam.offline.evaluating import open_part
from compressed_slam.offline.recorded import walk_room
from compressed_slam.offline.tracking_accuracy import track
from compressed_slam.skill import SlamSkill
from compressed_slam.training.accuracy import FlowErrors
from compressed_slam.training.data import SlamData, judged_pairs
from edge_compression.checkpoint import load_checkpoint
from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engines

if TYPE_CHECKING:
    from collections.abc import Callable

    from compressed_slam.droid_operator import Networks
    from compressed_slam.offline.recorded import Recording
    from compressed_slam.training.pair_network import PairNetwork

DATA = Path("../shared/data/slam")
SEQUENCES = [str(DATA / name) for name in ("redkitchen@200:400:2", "fr1_rpy", "fr3_cabinet")]
MONO = SEQUENCES[:1]
FIRST_ROOM = 900_000


def opened(path: Path, threads: int) -> Networks:
    """Open a checkpoint, or a bundle's engines in eight bits."""
    if path.is_dir():
        engines = open_engines(load_bundle(path, "slam"), threads=threads, precision="int8")
        return EngineNetworks({name: engine.run for name, engine in engines.items()})
    return cast("PairNetwork", load_checkpoint(path, SlamSkill())).droid.eval()


def flow(networks: list[Networks], pairs: int) -> list[float]:
    """Return the share of samples within a pixel, by network; of so many pairs of each kind."""
    sequences = (DATA / "fr3_cabinet",)
    data = SlamData(rooms=0, held_out_rooms=2, held_out_sequences=sequences, judged_pairs=pairs)
    errors = [FlowErrors() for _ in networks]
    for kind, pair in judged_pairs(data, "held_out"):
        for found, network in zip(errors, networks, strict=True):
            found.add(kind, *pair_flow(network, pair.first, pair.second), pair.flow)
    return [found.metrics()["within_1px"] for found in errors]


def recordings(args: argparse.Namespace) -> list[Callable[[], Recording]]:
    """Return what opens the recordings."""
    rooms = range(FIRST_ROOM, FIRST_ROOM + args.rooms)
    return [
        *(partial(open_part, text, "rgbd") for text in args.sequences),
        *(partial(open_part, text, "mono") for text in args.mono),
        *(partial(walk_room, seed, mode) for seed in rooms for mode in ("rgbd", "mono")),
    ]


def main() -> None:
    """Track and print a table, a column for each of the weights."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path, nargs="+", help="checkpoints or bundles")
    parser.add_argument("--rooms", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=32, help="of each kind; 0 for no flow")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sequences", nargs="*", default=SEQUENCES)
    parser.add_argument("--mono", nargs="*", default=MONO)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    networks = [opened(path, args.threads) for path in args.weights]
    _print("", *map(str, args.weights))
    _print(*["---"] * (len(networks) + 1))
    if args.pairs:
        shares = flow(networks, args.pairs)
        _print("flow within 1 px", *(f"{share:.3f}" for share in shares))
    errors = []
    for make in recordings(args):
        recording = make()
        found = [track(network, recording) for network in networks]
        errors.append([each.ate for each in found])
        cells = (f"{each.ate:.4f} ({100 * each.tracked:.0f} %)" for each in found)
        _print(f"{recording.name}, {recording.mode}", *cells)
    means = np.exp(np.log(errors).mean(axis=0))
    _print("mean ATE of the first's", *(f"{mean / means[0]:.3f}" for mean in means))


def _print(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
