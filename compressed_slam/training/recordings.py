"""Clips of recorded sequences with depth and poses."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from compressed_slam.training.clips import Clip
from compressed_slam.undistortion import FRAMINGS, Rectifier
from edge_replay.datasets.layouts import open_sequence
from edge_runtime.errors import SettingError
from edge_runtime.files import sha256

if TYPE_CHECKING:
    from pathlib import Path

_FRAMING = "tum"  # 320x240, as the robot's pictures
_SLOP_S = 0.02  # between a picture and its pose


def recorded_clip(folder: Path) -> Clip:
    """Read a sequence as the tracker would see it: undistorted, 320x240.

    Pictures without depth or pose are left out.

    Raises:
        SettingError: no such sequence, or one in which fewer than two pictures have both.
    """
    sequence = open_sequence(folder)
    truth = sequence.ground_truth
    rectifier = Rectifier(sequence.camera, FRAMINGS[_FRAMING](sequence.camera))
    frames, poses = [], []
    if truth is not None:
        matrices = truth.matrices()
        for index, place in zip(*truth.nearest(sequence.stamps, _SLOP_S), strict=True):
            depth = sequence.depth(int(index))
            if depth is not None:
                frames.append((rectifier.image(sequence.bgr(int(index))), rectifier.depth(depth)))
                poses.append(matrices[place])
    if len(frames) < 2:  # noqa: PLR2004 - a pair
        message = (
            f"'{folder}' has {len(frames)} pictures with depth and a pose: flow is learnt from "
            "sequences with both, such as those of TUM RGB-D"
        )
        raise SettingError(message)
    bgr = np.stack([picture for picture, _ in frames])
    depth = np.nan_to_num(np.stack([depth for _, depth in frames]))
    return Clip(bgr, depth.astype(np.float16), np.stack(poses), rectifier.intrinsics)


def folder_digest(folder: Path) -> str:
    """Hash the names and contents of all files of a folder.

    Raises:
        SettingError: there is no such folder.
    """
    if not folder.is_dir():
        message = f"folder '{folder}' does not exist: correct the recipe, or get the data"
        raise SettingError(message)
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)} {sha256(path)}\n".encode())
    return digest.hexdigest()
