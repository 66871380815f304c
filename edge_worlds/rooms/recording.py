"""A camera's walk through a room as a recording in TUM RGB-D's layout.

`python -m edge_worlds.rooms.recording FOLDER` makes one; `replay run --skill slam --folder FOLDER`
plays it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import joblib
import numpy as np

from edge_runtime.command import run_command
from edge_runtime.errors import SettingError
from edge_runtime.files import whole_directory
from edge_runtime.progress import progress
from edge_runtime.trajectory import Trajectory, write_trajectory
from edge_worlds.rooms.renderer import Pinhole
from edge_worlds.rooms.room import make_room
from edge_worlds.rooms.sequence import Sensor, frames
from edge_worlds.rooms.trajectory import fast_rotation, loop, pure_rotation, still, wander

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_worlds.rooms.sequence import RenderedFrame

WAYS = {
    "walk": wander,
    "fast": fast_rotation,
    "loop": loop,
    "turn": pure_rotation,
    "still": still,
}
_RATE = 30.0  # Hz
_VIEW = 75.0  # degrees
_DEPTH_SCALE = 5000.0  # units per metre, as TUM's
_SENSOR = Sensor(noise=3.0, exposure=0.1)
_BEGIN = 10**18  # ns, of the first stamp: later than the epoch, as a recording is


def record(target: Path, way: str, count: int, size: tuple[int, int], seed: int) -> None:
    """Write `count` pictures with registered depth, true poses and the camera.

    The camera is a plain pinhole with a little noise and a changing exposure; depth is exact.

    Args:
        target: the folder, which must not exist.
        way: a key of `WAYS`.
        count: of the pictures, at 30 Hz; fewer where the way ends before.
        size: width and height of the pictures.
        seed: of the room and the way.

    Raises:
        SettingError: `target` exists, or `count` is not above 0.
    """
    if target.exists():
        message = f"'{target}' exists already: choose another folder, or remove it"
        raise SettingError(message)
    if count < 1:
        message = f"--frames {count}: a recording has at least 1"
        raise SettingError(message)
    room = make_room(seed)
    camera = Pinhole.with_view(*size, _VIEW)
    sequence = frames(room, WAYS[way](room, seed, rate=_RATE), camera, _SENSOR)
    parallel = joblib.Parallel(n_jobs=-1, return_as="generator")
    shots = parallel(joblib.delayed(sequence.__getitem__)(k) for k in range(len(sequence))[:count])
    total = min(count, len(sequence))
    with whole_directory(target) as folder:
        for kind in ("rgb", "depth"):
            (folder / kind).mkdir()
        stamps, poses = [], []
        for shot in progress(shots, desc="filming", total=total):
            stamps.append(_BEGIN + round(shot.stamp * 1e9))
            poses.append(shot.pose)
            _write(folder, stamps[-1], shot)
        for kind in ("rgb", "depth"):
            lines = [f"{_seconds(stamp)} {_file(kind, stamp)}\n" for stamp in stamps]
            (folder / f"{kind}.txt").write_text("# timestamp filename\n" + "".join(lines))
        write_trajectory(folder / "groundtruth.txt", Trajectory(np.array(stamps), np.array(poses)))
        numbers = (camera.fx, camera.fy, camera.cx, camera.cy, *size, _DEPTH_SCALE)
        (folder / "intrinsics.txt").write_text(" ".join(f"{number:g}" for number in numbers) + "\n")


def _write(folder: Path, stamp: int, shot: RenderedFrame) -> None:
    units = np.clip(np.rint(shot.depth * _DEPTH_SCALE), 0, np.iinfo(np.uint16).max)
    for kind, picture in (("rgb", shot.bgr), ("depth", units.astype(np.uint16))):
        path = folder / _file(kind, stamp)
        if not cv2.imwrite(str(path), picture):
            message = f"'{path}' cannot be written: free space there"
            raise SettingError(message)


def _file(kind: str, stamp: int) -> str:
    return f"{kind}/{_seconds(stamp)}.png"


def _seconds(stamp: int) -> str:
    return f"{stamp // 10**9}.{stamp % 10**9 // 1000:06d}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m edge_worlds.rooms.recording", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--way", choices=WAYS, default="walk")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--size", type=int, nargs=2, default=(320, 240), metavar=("W", "H"))
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(
        run=lambda args: record(args.folder, args.way, args.frames, tuple(args.size), args.seed)
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_command(_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
