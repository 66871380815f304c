"""How right tracking and mapping are with nearly true flow: walks through five procedural rooms.

    python benchmarks/slam_rooms.py [--noise 0.1]

Pictures of 320x240, 15 a second, five metres a walk; the oracle gives the flow that depth and poses
make, with noise in pixels of the maps (eighths of the picture's). Position errors are root mean
squares over all frames after `finish`, aligned with scale (mono) or without (RGB-D), of the way.
"""

from __future__ import annotations

import argparse

import numpy as np

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

ROOMS, METRES, RATE = 5, 5.0, 15.0


def main() -> None:
    """Walk, track, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--noise", type=float, default=0.1)
    args = parser.parse_args()
    pinhole = Pinhole.with_view(320, 240)
    matrix = np.array([[pinhole.fx, 0, pinhole.cx], [0, pinhole.fy, pinhole.cy], [0, 0, 1]])
    camera = Calibration(320, 240, matrix, np.zeros(0), "plumb_bob")
    print("| room | frames | lost | mono [% of the way] | RGB-D [% of the way] |")
    print("|---" * 5 + "|")
    for seed in range(ROOMS):
        room = make_room(seed)
        walk = frames(room, wander(room, 0, METRES, RATE), pinhole)
        shots = {round(1e9 * shot.stamp): shot for shot in walk}
        known = {stamp: (shot.pose, shot.depth) for stamp, shot in shots.items()}
        poses = np.stack([shot.pose for shot in shots.values()])
        truth = Trajectory(np.array(list(shots)), poses)
        lost, shares = 0, []
        for measures_depth in (False, True):
            oracle = Oracle(known.__getitem__, camera, noise=args.noise)
            tracker = Tracker(preset("tum"), oracle, camera, measures_depth=measures_depth)
            for stamp, shot in shots.items():
                estimate = tracker.track(Frame(stamp, shot.bgr, shot.depth))
                lost += estimate.health is Health.LOST
            tracker.finish()
            alignment = "se3" if measures_depth else "sim3"
            error = absolute_error(truth, tracker.trajectory(), alignment=alignment)
            shares.append(100 * error.translation.rmse / truth.length)
        print(f"| {seed} | {len(shots)} | {lost} | {shares[0]:.2f} | {shares[1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
