"""Whether tracking stays as fast, and as small, as it was: thousands of frames through one room.

    python benchmarks/slam_endurance.py [--frames 10000] [--mode rgbd]

Pictures of 320x240 of a walk through a procedural room, rendered as they are wanted, with the
oracle's flow (.1 map pixels of noise) in place of the networks: this is about the system around
them; what networks add to its memory says `slam_memory.py`. The backend runs beside it, as always.
Times are those of one call of `track`, medians over the last 1,000 frames: of frames that became
keyframes, and of the others. "Thread" is the processor time of the calling thread alone, which the
backend and other programs disturb less than the clock. The mean also depends on how often the room
asks for a keyframe.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import psutil

from compressed_slam.estimate import Health
from compressed_slam.evaluation import absolute_error
from compressed_slam.frame import Frame
from compressed_slam.oracle import Oracle
from compressed_slam.settings import preset
from compressed_slam.tracker import Tracker
from edge_runtime.calibration import Calibration
from edge_runtime.trajectory import Trajectory
from edge_worlds.rooms.renderer import Pinhole
from edge_worlds.rooms.room import make_room
from edge_worlds.rooms.sequence import frames
from edge_worlds.rooms.trajectory import wander

RATE, SPEED = 30.0, 0.6
SECOND = 1_000_000_000
WINDOW = 1000
MB = 1 << 20


def main() -> None:
    """Track, and tell of every thousand frames."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--mode", choices=("mono", "rgbd"), default="rgbd")
    args = parser.parse_args()
    pinhole = Pinhole.with_view(320, 240)
    room = make_room(1)
    walk = frames(room, wander(room, 0, 1.05 * args.frames / RATE * SPEED, RATE), pinhole)
    matrix = np.array([[pinhole.fx, 0, pinhole.cx], [0, pinhole.fy, pinhole.cy], [0, 0, 1]])
    camera = Calibration(320, 240, matrix, np.zeros(0), "plumb_bob")
    known = {}
    tracker = Tracker(
        preset("tum"),
        Oracle(known.__getitem__, camera, noise=0.1),
        camera,
        measures_depth=args.mode == "rgbd",
    )
    times, truth, lost = [], [], 0
    names = ("frames", "keyframe, clock [ms]", "thread [ms]", "other, clock [ms]", "thread [ms]")
    names += ("mean, thread [ms]", "resident [MB]", "keyframes in memory", "lost")
    print(f"| {' | '.join(names)} |")
    print("|---" * len(names) + "|")
    for number in range(1, args.frames + 1):
        shot = walk[number - 1]
        stamp = round(shot.stamp * SECOND)
        known.clear()
        known[stamp] = shot.pose, shot.depth
        truth.append((stamp, shot.pose))
        depth = shot.depth if args.mode == "rgbd" else None
        start = time.perf_counter(), time.thread_time()
        estimate = tracker.track(Frame(stamp, shot.bgr, depth))
        end = time.perf_counter(), time.thread_time()
        times.append((estimate.keyframe, 1e3 * (end[0] - start[0]), 1e3 * (end[1] - start[1])))
        lost += estimate.health is Health.LOST
        if number % WINDOW == 0:
            last = np.array(times[-WINDOW:])
            medians = [np.median(last[last[:, 0] == kind, 1:], axis=0) for kind in (1, 0)]
            cells = [*np.concatenate(medians), last[:, 2].mean()]
            resident = psutil.Process().memory_info().rss / MB
            print(
                f"| {number} | {' | '.join(f'{cell:.1f}' for cell in cells)} | {resident:.0f} "
                f"| {len(tracker.known)} | {lost} |",
                flush=True,
            )
    stamps, poses = zip(*truth, strict=True)
    path = Trajectory(np.array(stamps), np.stack(poses))
    error = absolute_error(
        path, tracker.trajectory(), alignment="se3" if args.mode == "rgbd" else "sim3"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
    print(
        f"\npeak {peak:.0f} MB; way {path.length:.0f} m, position error "
        f"{error.translation.rmse:.3f} m (root mean square)"
    )


if __name__ == "__main__":
    main()
