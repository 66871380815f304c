"""Clips of procedural rooms, rendered once and kept in the user's cache."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np

from compressed_slam.training.clips import Clip
from edge_runtime.caching import SHARD_FILE, cache_directory
from edge_runtime.errors import SettingError
from edge_runtime.files import whole_directory
from edge_runtime.progress import progress
from edge_runtime.trajectory import Trajectory
from edge_worlds.rooms.renderer import Pinhole, render
from edge_worlds.rooms.room import make_room
from edge_worlds.rooms.trajectory import fast_rotation, wander

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

WORLD = 1
"""Raised whenever a change of this file or of the rooms changes the pictures."""
FRAMES = 32
"""Pictures of every room."""
_SIZE = (320, 240)
_VIEW = (55.0, 90.0)  # degrees, the narrowest and the widest
_CALM_HZ, _FAST_HZ = 6.0, 12.0
_METRES = 4.0  # of the walk; longer than what is filmed of it


def room_clips(seeds: Sequence[int], cache: Path | None = None) -> list[Clip]:
    """Return one clip of every room, rendering those that the cache lacks.

    Joblib's current backend renders: local processes, or a cluster inside `parallel_config`.

    Raises:
        SettingError: the cache cannot be written.
    """
    folder = (cache or cache_directory()) / "rooms" / f"v{WORLD}-{FRAMES}x{_SIZE[0]}x{_SIZE[1]}"
    missing = [seed for seed in seeds if not _shard(folder, seed).is_dir()]
    if missing:
        rendered = joblib.Parallel(n_jobs=-1, return_as="generator_unordered")(
            joblib.delayed(_film)(seed) for seed in missing
        )
        for seed, arrays in progress(rendered, total=len(missing), desc="rendering", unit="room"):
            _keep(_shard(folder, seed), arrays)
    return [_read(_shard(folder, seed)) for seed in seeds]


def film_room(seed: int) -> Clip:
    """Walk through a room with a camera whose field of view the seed decides.

    In every other room the camera looks around fast.
    """
    return Clip(**_film(seed)[1])


def _film(seed: int) -> tuple[int, dict[str, NDArray[Any]]]:
    rng = np.random.default_rng(seed)
    camera = Pinhole.with_view(*_SIZE, rng.uniform(*_VIEW))
    room = make_room(seed)
    path, rate = (fast_rotation, _FAST_HZ) if seed % 2 else (wander, _CALM_HZ)
    poses = path(room, seed, _METRES, rate).poses[:FRAMES]
    shots = [render(room, camera, pose) for pose in poses]
    return seed, {
        "bgr": np.stack([bgr for bgr, _ in shots]),
        "depth": np.stack([depth for _, depth in shots]).astype(np.float16),
        "poses": Trajectory(np.arange(len(poses)), poses).matrices(),
        "intrinsics": np.array([camera.fx, camera.fy, camera.cx, camera.cy]),
    }


def _shard(folder: Path, seed: int) -> Path:
    return folder / f"{seed:08d}"


def _keep(target: Path, arrays: dict[str, NDArray[Any]]) -> None:
    try:
        with whole_directory(target) as folder:
            for name, array in arrays.items():
                content = io.BytesIO()
                np.save(content, array)
                # Not by np.save, whose failures do not say that the disk is full.
                (folder / f"{name}.npy").write_bytes(content.getbuffer())
            note = {"set": "walks through rooms", "samples": len(arrays["bgr"])}
            (folder / SHARD_FILE).write_text(json.dumps(note))
    except OSError as error:
        message = (
            f"rendered rooms cannot be kept in {target.parent} ({error.strerror}): free space "
            "there, or let XDG_CACHE_HOME name another folder"
        )
        raise SettingError(message) from error


def _read(shard: Path) -> Clip:
    names = ("bgr", "depth", "poses", "intrinsics")
    return Clip(**{name: np.load(shard / f"{name}.npy") for name in names})
