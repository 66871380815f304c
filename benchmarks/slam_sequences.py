"""A SLAM bundle on recordings, beside a classical peer on the same frames.

    python benchmarks/slam_sequences.py BUNDLE [--precisions fp32 fp16 int8] [--threads 2]
        [--modes rgbd mono stereo] [--sequences FOLDER[@FIRST:END] ...] [--rooms N]

Pictures of 320x240 (of EuRoC 512x320). ATE is the root mean square error of the refined trajectory
after a rigid alignment (of a single camera: with scale), in metres and of the way; a frame that was
lost counts as where the camera was last known to be. Rooms are rendered, held out, and without a
second camera; `slam_stereo_room.py` makes folders with one. The peer, for RGB-D: ORB features of
OpenCV, matched with the latest keyframe's, whose depth gives points; PnP by RANSAC; no map beyond
that keyframe, and no refinement. Recordings run one after the other.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

import cv2
import numpy as np
import torch

from compressed_slam.engines import EngineNetworks
from compressed_slam.evaluation import absolute_error
from compressed_slam.offline.evaluating import open_part
from compressed_slam.offline.recorded import Mode, walk_room
from compressed_slam.offline.tracking_accuracy import track
from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engines
from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressed_slam.frame import Frame
    from compressed_slam.offline.recorded import Recording

DATA = Path("../shared/data/slam")
SEQUENCES = [
    str(DATA / name) for name in ("redkitchen@200:400", "redkitchen", "fr1_rpy", "fr3_cabinet")
]
FIRST_ROOM = 900_000  # far from those that training renders

FEATURES, RATIO, FEWEST, KEYFRAME_INLIERS = 1500, 0.8, 8, 150
FAST_THRESHOLD = 7  # grey levels; OpenCV's 20 finds too little where there is little to see
NEAREST, FARTHEST = 0.2, 8.0  # metres of depth that are believed


class Row(NamedTuple):
    """One line of the table."""

    ate: float
    share_of_way: float
    tracked: float
    ms: float


class Features(NamedTuple):
    """What ORB finds: pixels (N, 2) and descriptors (N, 32)."""

    pixels: NDArray[np.float32]
    descriptors: NDArray[np.uint8]


def orb_pnp(recording: Recording) -> Row:
    """Follow the camera by ORB and PnP against the latest keyframe."""
    matrix = recording.camera.matrix
    orb = cv2.ORB_create(FEATURES, fastThreshold=FAST_THRESHOLD)  # type: ignore[attr-defined]
    matcher = cv2.BFMatcher(cv2.NORM_HAMMING)
    key: tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.float64]] | None = None
    pose = np.eye(4)  # world to camera
    stamps, poses, took, lost = [], [], [], 0
    for frame in recording.frames():
        start = time.perf_counter()
        found = _features(orb, frame)
        if key is None:
            key = _keyframe(found, frame, matrix, pose)
        else:
            points, descriptors, of_key = key
            pairs = matcher.knnMatch(found.descriptors, descriptors, k=2)
            good = [p[0] for p in pairs if len(p) > 1 and p[0].distance < RATIO * p[1].distance]
            relative, inliers = _solved(
                points[[match.trainIdx for match in good]],
                found.pixels[[match.queryIdx for match in good]],
                matrix,
            )
            if relative is None:
                lost += 1
                key = _keyframe(found, frame, matrix, pose)
            else:
                pose = relative @ of_key
                if inliers < KEYFRAME_INLIERS:
                    key = _keyframe(found, frame, matrix, pose)
        took.append(1e3 * (time.perf_counter() - start))
        stamps.append(frame.stamp)
        poses.append(np.linalg.inv(pose))
    ours = Trajectory.from_matrices(np.array(stamps), np.stack(poses))
    error = absolute_error(recording.truth, ours, tolerance_s=0.02)
    ate, way = error.translation.rmse, _way(recording.truth, ours)
    return Row(ate, ate / way, 1 - lost / len(stamps), float(np.median(took)))


def _way(truth: Trajectory, ours: Trajectory) -> float:
    """Return the metres that the camera truly went while it was tracked."""
    inside = (truth.stamps >= ours.stamps[0]) & (truth.stamps <= ours.stamps[-1])
    return truth[inside].length


def _features(orb: cv2.ORB, frame: Frame) -> Features:
    keypoints, descriptors = orb.detectAndCompute(
        cv2.cvtColor(frame.bgr, cv2.COLOR_BGR2GRAY),
        None,  # type: ignore[call-overload]
    )
    if descriptors is None:
        return Features(np.zeros((0, 2), np.float32), np.zeros((0, 32), np.uint8))
    return Features(np.array([point.pt for point in keypoints], np.float32), descriptors)


def _keyframe(
    found: Features, frame: Frame, matrix: NDArray[np.float64], pose: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.float64]]:
    """Return points (N, 3) in the camera's frame, their descriptors, and the camera's pose."""
    column, row = np.rint(found.pixels).astype(int).T
    seen = np.full(frame.bgr.shape[:2], np.nan) if frame.depth is None else frame.depth
    depth = seen[row, column]
    known = (depth > NEAREST) & (depth < FARTHEST)
    rays = np.concatenate([found.pixels, np.ones((len(depth), 1))], 1) @ np.linalg.inv(matrix).T
    return (depth[:, None] * rays)[known], found.descriptors[known], pose


def _solved(
    points: NDArray[np.float64], pixels: NDArray[np.float32], matrix: NDArray[np.float64]
) -> tuple[NDArray[np.float64] | None, int]:
    if len(points) < FEWEST:
        return None, 0
    solved, turn, shift, inliers = cv2.solvePnPRansac(
        points,
        pixels,
        matrix,
        None,  # type: ignore[arg-type]
        iterationsCount=200,
        reprojectionError=2.0,
    )
    if not solved or inliers is None or len(inliers) < FEWEST:
        return None, 0
    relative = np.eye(4)
    relative[:3, :3] = cv2.Rodrigues(turn)[0]
    relative[:3, 3] = shift[:, 0]
    return relative, len(inliers)


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
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    ways = {
        precision: partial(bundle, args.bundle, precision, args.threads)
        for precision in args.precisions
    }
    _print("recording", "by", "ATE [m]", "of the way [%]", "tracked [%]", "frame, median [ms]")
    _print(*["---"] * 6)
    for mode in args.modes:
        opened = {f"{text}, {mode}": partial(open_part, text, mode) for text in args.sequences}
        if mode != "stereo":
            seeds = range(FIRST_ROOM, FIRST_ROOM + args.rooms)
            opened |= {f"room {seed}, {mode}": partial(walk_room, seed, mode) for seed in seeds}
        for text, recording in opened.items():
            for name, way in (ways | ({"ORB + PnP": orb_pnp} if mode == "rgbd" else {})).items():
                row = way(recording())
                shares = f"{100 * row.share_of_way:.2f}", f"{100 * row.tracked:.1f}"
                _print(text, name, f"{row.ate:.4f}", *shares, f"{row.ms:.0f}")


def _print(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
