"""A walk through a rendered room as a folder of EuRoC: stereo pairs, calibrations, true poses.

    python benchmarks/slam_stereo_room.py FOLDER [--seed 900000] [--metres 5]
    compress evaluate slam --bundle DIR --sequences FOLDER --modes stereo mono --output DIR
    replay run --skill slam --folder FOLDER --bundle DIR --output DIR

The cameras are 11 cm apart, as EuRoC's, and not quite parallel; pictures of 512x320, which is what
DROID-SLAM's published evaluation makes of EuRoC's, 15 a second. Held-out rooms are those from seed
900000 on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import yaml

from edge_runtime.trajectory import Trajectory
from edge_worlds.rooms.renderer import Pinhole, render
from edge_worlds.rooms.room import make_room
from edge_worlds.rooms.trajectory import wander

SIZE, RATE = (512, 320), 15.0
START = 1_000_000_000_000_000_000  # ns
RIGHT_TURN = np.radians([0.4, -0.3, 0.5])
RIGHT_PLACE = (0.11, 0.001, -0.001)  # metres in the left camera


def right_in_left() -> np.ndarray:
    """Return (4, 4) from the right camera's axes to the left one's."""
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(RIGHT_TURN)[0]
    pose[:3, 3] = RIGHT_PLACE
    return pose


def main() -> None:
    """Render and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=900_000)
    parser.add_argument("--metres", type=float, default=5.0)
    args = parser.parse_args()
    room = make_room(args.seed)
    walk = wander(room, args.seed, args.metres, RATE)
    stamps = START + np.round(walk.stamps * 1e9).astype(np.int64)
    lefts = Trajectory(stamps, walk.poses)
    lens = Pinhole.with_view(*SIZE)
    mav = args.folder / "mav0"
    for number, in_body in enumerate((np.eye(4), right_in_left())):
        camera = mav / f"cam{number}"
        (camera / "data").mkdir(parents=True)
        poses = Trajectory.from_matrices(stamps, lefts.matrices() @ in_body).poses
        for stamp, pose in zip(stamps, poses, strict=True):
            bgr = render(room, lens, pose)[0]
            grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
            cv2.imwrite(str(camera / "data" / f"{stamp}.png"), grey)
        rows = [f"{stamp},{stamp}.png" for stamp in stamps]
        (camera / "data.csv").write_text("\n".join(["#timestamp [ns],filename", *rows]))
        (camera / "sensor.yaml").write_text(yaml.safe_dump(sensor(lens, in_body)))
    (mav / "state_groundtruth_estimate0").mkdir()
    heading = "#timestamp, p_x, p_y, p_z, q_w, q_x, q_y, q_z"
    rows = [
        ",".join(map(str, (stamp, *pose[:3], pose[6], *pose[3:6])))
        for stamp, pose in zip(stamps.tolist(), walk.poses.tolist(), strict=True)
    ]
    (mav / "state_groundtruth_estimate0" / "data.csv").write_text("\n".join([heading, *rows]))
    print(f"{len(stamps)} pairs, {lefts.length:.2f} m, in {args.folder}")


def sensor(lens: Pinhole, in_body: np.ndarray) -> dict[str, object]:
    """Return what EuRoC's `sensor.yaml` says of a camera."""
    return {
        "T_BS": {"data": in_body.ravel().tolist()},
        "camera_model": "pinhole",
        "resolution": list(SIZE),
        "intrinsics": [lens.fx, lens.fy, lens.cx, lens.cy],
        "distortion_model": "radial-tangential",
        "distortion_coefficients": [0.0, 0.0, 0.0, 0.0],
    }


if __name__ == "__main__":
    main()
