"""Recordings to track offline: folders of data sets, and walks through rendered rooms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from compressed_slam.frame import Frame
from compressed_slam.offline.presets import preset_of_layout
from compressed_slam.undistortion import FRAMINGS, Rectifier, stereo_rectifiers
from edge_replay.datasets.layouts import fitting_layouts, open_sequence
from edge_runtime.calibration import Calibration
from edge_runtime.errors import SettingError
from edge_runtime.trajectory import Trajectory
from edge_worlds.rooms.renderer import Pinhole
from edge_worlds.rooms.room import make_room
from edge_worlds.rooms.sequence import frames
from edge_worlds.rooms.trajectory import wander

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import Tensor

    from edge_replay.datasets.sequence import FolderSequence
    from edge_worlds.rooms.sequence import RenderedFrame
    from edge_worlds.rooms.trajectory import Trajectory as Poses

Mode = Literal["mono", "rgbd", "stereo"]

_SIZE = (320, 240)
_METRES, _RATE = 5.0, 15.0  # of a walk through a room; frames a second
_SECOND = 1_000_000_000


@dataclass(frozen=True)
class Recording:
    """Frames of one camera, and where it was.

    Attributes:
        name: for tables.
        mode: what the frames hold beside the picture.
        camera: of the pictures.
        baseline: (7,) from the left camera's axes to the right one's; None without one.
        truth: camera to world, with stamps of its own.
        frames: makes them anew at every call, in the order of their stamps.
        preset: of the settings.
    """

    name: str
    mode: Mode
    camera: Calibration
    baseline: Tensor | None
    truth: Trajectory
    frames: Callable[[], Iterator[Frame]]
    preset: str = "tum"


def open_recording(
    folder: Path, mode: Mode = "rgbd", *, preset: str = "tum", rows: slice = slice(None)
) -> Recording:
    """Open a data set's sequence, with the pictures cut as `preset` says; `rows` of its frames.

    Raises:
        SettingError: see `open_sequence`; or it lacks poses, or what the mode needs.
    """
    sequence = open_sequence(folder)
    truth = sequence.ground_truth
    if truth is None:
        message = f"'{folder}' has no ground truth: choose a sequence with poses"
        raise SettingError(message)
    if mode == "rgbd" and not any(sequence.depths):
        message = f"'{folder}' has no depth: choose the mode mono, or another sequence"
        raise SettingError(message)
    framing = FRAMINGS[preset](sequence.camera)
    baseline = None
    if mode == "stereo":
        if sequence.right_camera is None:
            message = f"'{folder}' has no second camera: choose the mode mono or rgbd"
            raise SettingError(message)
        pair = sequence.right_camera
        left, right = stereo_rectifiers(sequence.camera, pair.calibration, pair.from_left, framing)
        baseline = torch.tensor([-pair.baseline, 0, 0, 0, 0, 0, 1])
    else:
        left, right = Rectifier(sequence.camera, framing), None
    chosen = range(len(sequence))[rows]

    def film() -> Iterator[Frame]:
        for index in chosen:
            yield _frame(sequence, index, mode, left, right)

    return Recording(folder.name, mode, left.camera, baseline, truth, film, preset)


def preset_of(folder: Path) -> str:
    """Name the settings that fit the data set that a folder is of."""
    return preset_of_layout(next(iter(fitting_layouts(folder)), None))


def _frame(
    sequence: FolderSequence, index: int, mode: Mode, left: Rectifier, right: Rectifier | None
) -> Frame:
    depth = sequence.depth(index) if mode == "rgbd" else None
    other = sequence.right(index) if mode == "stereo" else None
    return Frame(
        int(sequence.stamps[index]),
        left.image(sequence.bgr(index)),
        None if depth is None else left.depth(depth),
        None if other is None or right is None else right.image(other),
    )


@lru_cache(maxsize=4)
def _walk(seed: int) -> tuple[Poses, Pinhole, Callable[[int], RenderedFrame]]:
    """Return a walk's poses, its camera, and what gives its pictures, each rendered once."""
    room = make_room(seed)
    path = wander(room, seed, _METRES, _RATE)
    lens = Pinhole.with_view(*_SIZE)
    return path, lens, cache(frames(room, path, lens).__getitem__)


def walk_room(
    seed: int, mode: Literal["mono", "rgbd"] = "rgbd", *, rows: slice = slice(None)
) -> Recording:
    """Walk 5 m through a rendered room: exact depth and poses, 320x240, 15 frames a second."""
    path, lens, shot_of = _walk(seed)
    matrix = np.array([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]])
    stamps = np.round(path.stamps * _SECOND).astype(np.int64)

    def film() -> Iterator[Frame]:
        for index in range(len(stamps))[rows]:
            shot = shot_of(index)
            depth = shot.depth if mode == "rgbd" else None
            yield Frame(int(stamps[index]), shot.bgr, depth)

    return Recording(
        f"room {seed}",
        mode,
        Calibration(*_SIZE, matrix, np.zeros(0), "plumb_bob"),
        None,
        Trajectory(stamps, path.poses),
        film,
    )
