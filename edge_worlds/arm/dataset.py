"""Labelled images of an arm on disk: rendered once, in parallel, and grown in place."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import joblib
import mujoco
import numpy as np

from edge_runtime.caching import SHARD_FILE, cache_directory
from edge_runtime.errors import SettingError
from edge_runtime.files import sha256, whole_directory
from edge_runtime.progress import progress
from edge_worlds.arm.model import Arm, read_description
from edge_worlds.arm.negatives import NegativeSampler
from edge_worlds.arm.robot_model import load_model, model_files
from edge_worlds.arm.scene import SceneSampler, photo_paths
from edge_worlds.arm.urdf import HIDDEN_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_SHARD = 250
_ROOMS = 10_000  # between the rooms of one seed and those of the next
_TRIED = 4
_WORLD = 3
"""Raised whenever a change of this package changes the pictures: old sets are then made anew."""
_NEGATIVES = 2
"""The same for pictures without the arm."""
_UNCHANGED_SINCE = 2
"""The world that arms whose shapes are all seen, and whose joints are all free, still look like."""


class PictureSource(Protocol):
    """What determines every image of a set but their number: image k depends on it and k."""

    @property
    def size(self) -> int:
        """Side of the square images, pixels."""

    @property
    def seed(self) -> int:
        """Of the random numbers."""

    def title(self) -> str:
        """Say in a few words which images these are."""

    def digest(self) -> str:
        """Identify the set: 16 hex digits over the content of all that goes into it."""

    def sampler(self, shard: int) -> SceneSampler | NegativeSampler:
        """Make what draws the images of one shard."""


@dataclass(frozen=True)
class ImageSource:
    """Images of an arm.

    `description` is the arm's YAML file, `backgrounds` a folder of photographs or None.
    """

    description: Path
    size: int
    seed: int
    backgrounds: Path | None = None

    def title(self) -> str:
        """Say in a few words which images these are."""
        return f"{read_description(self.description).name}, {self.size} px, seed {self.seed}"

    def digest(self) -> str:
        """Identify the set: 16 hex digits over the content of all that goes into it."""
        model = read_description(self.description).model
        content = {
            "world": _world(model),
            "description": self.description.read_text(),
            "model": [(path.name, sha256(path)) for path in model_files(model)],
            "size": self.size,
            "seed": self.seed,
            "backgrounds": [
                [path.name, _photo_sha256(path)] for path in photo_paths(self.backgrounds)
            ]
            if self.backgrounds
            else [],
        }
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def sampler(self, shard: int) -> SceneSampler:
        """Draw scenes of the arm."""
        del shard
        return SceneSampler(Arm(self.description), (self.size, self.size), self.backgrounds)


@dataclass(frozen=True)
class NegativeSource:
    """Images without the arm that `description` describes; `photographs` are folders of some."""

    description: Path
    size: int
    seed: int
    photographs: tuple[Path, ...] = ()

    def digest(self) -> str:
        """Identify the set: 16 hex digits over the content of all that goes into it."""
        photos = [path for folder in self.photographs for path in photo_paths(folder)]
        content = {
            "world": _NEGATIVES,
            "without": ImageSource(self.description, self.size, self.seed).digest(),
            "photographs": [[path.name, _photo_sha256(path)] for path in photos],
        }
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def title(self) -> str:
        """Say in a few words which images these are."""
        name = read_description(self.description).name
        return f"scenes without {name}, {self.size} px, seed {self.seed}"

    def sampler(self, shard: int) -> NegativeSampler:
        """Draw pictures without the arm, with a room of its own for every shard."""
        size = (self.size, self.size)
        room_seed = self.seed * _ROOMS + shard
        return NegativeSampler(Arm(self.description), size, self.photographs, room_seed)


def _world(model: Path) -> int:
    spec = load_model(model)
    hides = any(geom.group >= HIDDEN_GROUP for geom in spec.geoms)
    couples = any(each.type == mujoco.mjtEq.mjEQ_JOINT for each in spec.equalities)
    return _WORLD if hides or couples else _UNCHANGED_SINCE


def _photo_sha256(path: Path) -> str:
    state = path.stat()
    return _unchanged_sha256(path, state.st_size, state.st_mtime_ns)


@cache
def _unchanged_sha256(path: Path, size: int, modified_ns: int) -> str:
    """Read a file once for every state of it: a run asks for its set's digest several times."""
    del size, modified_ns
    return sha256(path)


class ImageSet:
    """The first `count` images of a source.

    Attributes:
        keypoints: (count, 8, 2) float32 pixels u v, also where something hides them.
        in_image: (count, 8) bool.
    """

    def __init__(self, folder: Path, count: int) -> None:
        """Open the set's shards; the images stay on disk until they are asked for."""
        shards = sorted(folder.glob("[0-9]*"))[: -(-count // _SHARD)]
        self._images = [np.load(shard / "bgr.npy", mmap_mode="r") for shard in shards]
        labels = [np.load(shard / "labels.npz") for shard in shards]
        self.keypoints = np.concatenate([part["keypoints"] for part in labels])[:count]
        self.in_image = np.concatenate([part["in_image"] for part in labels])[:count]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.keypoints)

    def bgr(self, index: int) -> NDArray[np.uint8]:
        """Image `index`, (size, size, 3) uint8 BGR, read-only."""
        image: NDArray[np.uint8] = self._images[index // _SHARD][index % _SHARD]
        return image


def image_set(source: PictureSource, count: int, cache: Path | None = None) -> ImageSet:
    """The set's first `count` images, rendering those that the cache lacks.

    What rendering will cost is said first. It shows its progress, uses joblib's current backend
    (local processes, or a cluster inside `joblib.parallel_config`), and goes on where it was cut
    off.

    Raises:
        SettingError: The arm or the backgrounds cannot be used, or the cache cannot be written.
    """
    folder = (cache or cache_directory()) / "arm" / source.digest()
    with _kept_in(folder):
        missing = [k for k in range(-(-count // _SHARD)) if not _shard(folder, k).is_dir()]
    if missing:
        _announce(source, folder, len(missing) * _SHARD)
        note = {"set": source.title(), "samples": _SHARD}
        # Asked again when its turn comes: another process may have been faster.
        jobs = (
            joblib.delayed(_render_shard)(source, k)
            for k in missing
            if not _shard(folder, k).is_dir()
        )
        parallel = joblib.Parallel(n_jobs=-1, return_as="generator_unordered")
        bar = progress(total=len(missing) * _SHARD, desc="rendering", unit="image")
        with bar:
            # A worker may be another machine, whose disk is not ours: the pictures come back.
            for shard, arrays in parallel(jobs):
                _keep(_shard(folder, shard), arrays, note)
                bar.update(_SHARD)
    return ImageSet(folder, count)


def _announce(source: PictureSource, folder: Path, images: int) -> None:
    """Say how long and how large it will be, which a few pictures tell.

    Raises:
        SettingError: The arm or the backgrounds cannot be used, or the folder not be made.
    """
    sampler = source.sampler(0)
    ends = [time.perf_counter()]
    for k in range(_TRIED):
        sampler.sample(np.random.default_rng((source.seed, k)))
        ends.append(time.perf_counter())
    # The first is slower than those that follow.
    seconds = (ends[-1] - ends[1]) / (_TRIED - 1) * images / joblib.effective_n_jobs(-1)
    with _kept_in(folder):
        folder.mkdir(parents=True, exist_ok=True)
        need, free = images * 3 * source.size**2, shutil.disk_usage(folder).free
    sys.stderr.write(
        f"rendering {images:,} images of {source.title()}: about {max(seconds / 60, 1):,.0f} min "
        f"and {need / 1e9:.2f} of {free / 1e9:,.2f} GB free in {folder}\n"
    )
    sys.stderr.flush()


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}"


def _render_shard(source: PictureSource, shard: int) -> tuple[int, dict[str, NDArray[Any]]]:
    sampler = source.sampler(shard)
    samples = [
        sampler.sample(np.random.default_rng((source.seed, shard * _SHARD + k)))
        for k in range(_SHARD)
    ]
    names = ("bgr", "keypoints", "in_image")
    return shard, {name: np.stack([getattr(sample, name) for sample in samples]) for name in names}


def _keep(target: Path, arrays: dict[str, NDArray[Any]], note: dict[str, Any]) -> None:
    if target.is_dir():
        return  # another process was faster
    bgr = io.BytesIO()
    np.save(bgr, arrays["bgr"])
    with _kept_in(target.parent), whole_directory(target) as folder:
        # Not by np.save, whose failures do not say that the disk is full.
        (folder / "bgr.npy").write_bytes(bgr.getbuffer())
        (folder / SHARD_FILE).write_text(json.dumps(note))
        np.savez(folder / "labels.npz", keypoints=arrays["keypoints"], in_image=arrays["in_image"])


@contextmanager
def _kept_in(folder: Path) -> Iterator[None]:
    """Name the remedy where the cache's file system refuses."""
    try:
        yield
    except OSError as error:
        message = (
            f"rendered images cannot be kept in {folder} ({error.strerror}): free space there, or "
            "let XDG_CACHE_HOME name another folder"
        )
        raise SettingError(message) from error
