"""A SLAM bundle on recordings, beside a classical peer on the same frames.

    python benchmarks/slam_sequences.py BUNDLE [--precisions fp32 fp16 int8] [--threads 2]
        [--modes rgbd mono stereo] [--sequences FOLDER[@FIRST:END] ...] [--rooms N]
        [--peers orb open3d]

Pictures of 320x240 (of EuRoC 512x320). ATE is the root mean square error of the refined trajectory
after a rigid alignment (of a single camera: with scale), in metres and of the way; a frame that was
lost counts as where the camera was last known to be. Rooms are rendered, held out, and without a
second camera; `slam_stereo_room.py` makes folders with one. The peers, for RGB-D: `slam_peers.py`;
Open3D is asked for by name. Recordings run one after the other.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import cv2
import torch
from slam_peers import PEERS, Row, import_open3d

from compressed_slam.engines import EngineNetworks
from compressed_slam.offline.evaluating import open_part
from compressed_slam.offline.recorded import Mode, walk_room
from compressed_slam.offline.tracking_accuracy import track
from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engines

if TYPE_CHECKING:
    from compressed_slam.offline.recorded import Recording

DATA = Path("../shared/data/slam")
SEQUENCES = [
    str(DATA / name) for name in ("redkitchen@200:400", "redkitchen", "fr1_rpy", "fr3_cabinet")
]
FIRST_ROOM = 900_000  # far from those that training renders


def bundle(path: Path, precision: str, threads: int, recording: Recording) -> Row:
    """Track with a bundle's engines."""
    engines = open_engines(load_bundle(path, "slam"), threads=threads, precision=precision)
    found = track(EngineNetworks({name: each.run for name, each in engines.items()}), recording)
    return Row(found.ate, found.ate / found.truth.length, found.tracked, found.frame_ms)


def main() -> None:
    """Track and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "fp16", "int8"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--modes", nargs="+", choices=get_args(Mode), default=["rgbd"])
    parser.add_argument("--sequences", nargs="*", default=SEQUENCES)
    parser.add_argument("--rooms", type=int, default=0, metavar="N")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=["orb"])
    args = parser.parse_args()
    if "open3d" in args.peers:
        import_open3d()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    ways = {
        precision: partial(bundle, args.bundle, precision, args.threads)
        for precision in args.precisions
    }
    peers = dict(PEERS[peer] for peer in args.peers)
    _print("recording", "by", "ATE [m]", "of the way [%]", "tracked [%]", "frame, median [ms]")
    _print(*["---"] * 6)
    for mode in args.modes:
        opened = {f"{text}, {mode}": partial(open_part, text, mode) for text in args.sequences}
        if mode != "stereo":
            seeds = range(FIRST_ROOM, FIRST_ROOM + args.rooms)
            opened |= {f"room {seed}, {mode}": partial(walk_room, seed, mode) for seed in seeds}
        for text, recording in opened.items():
            for name, way in (ways | (peers if mode == "rgbd" else {})).items():
                row = way(recording())
                shares = f"{100 * row.share_of_way:.2f}", f"{100 * row.tracked:.1f}"
                _print(text, name, f"{row.ate:.4f}", *shares, f"{row.ms:.0f}")


def _print(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
