"""A few pictures of a clip in a row, with depth and poses, to learn from through the adjustment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from compressed_slam.training.pairs import random_window
from compressed_slam.training.photography import photographed
from edge_runtime.errors import SettingError
from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from compressed_slam.training.clips import Clip, Floats, Window
    from compressed_slam.training.frame_pairs import FramePairs

_NEAREST, _FARTHEST = 6.0, 36.0  # pixels of median motion between one picture and the next
_ATTEMPTS = 200
_MIRROR = np.diag([-1.0, 1, 1, 1])


class Excerpt(NamedTuple):
    """F pictures; lengths are such that the mean of the known disparities is 1.

    Attributes:
        bgr: (F, H, W, 3) uint8.
        disps: (F, H, W) float32 inverse depth, 0 where unknown.
        poses: (F, 4, 4) world-to-camera, the first one the identity.
        intrinsics: (4,) fx fy cx cy of the pictures, pixels.
    """

    bgr: NDArray[np.uint8]
    disps: NDArray[np.float32]
    poses: NDArray[np.float64]
    intrinsics: Floats


@dataclass(frozen=True, eq=False)
class ExcerptSource:
    """What excerpts are drawn from; each kind of clips is drawn from equally often.

    Attributes:
        kinds: for each kind its clips, and by (clip, picture) the pictures that may come next.
    """

    kinds: Sequence[tuple[Sequence[Clip], dict[tuple[int, int], NDArray[np.int64]]]]

    @classmethod
    def of(cls, walks: Sequence[FramePairs]) -> ExcerptSource:
        """Join pairs that are neither too near nor too far apart."""
        return cls([(pairs.clips, _successors(pairs)) for pairs in walks])

    def draw(self, rng: np.random.Generator, frames: int, size: tuple[int, int]) -> Excerpt:
        """Take `frames` pictures of `size` (width, height), as a camera would have taken them.

        The camera goes forward or backward in time.

        Raises:
            SettingError: no clip has so many pictures in a row that overlap.
        """
        for _ in range(_ATTEMPTS):
            clips, successors = self.kinds[int(rng.integers(len(self.kinds)))]
            number = int(rng.integers(len(clips)))
            chosen = _walk(rng, successors, number, len(clips[number]), frames)
            if len(chosen) == frames:
                window = random_window(rng, clips[number].size, size)
                excerpt = cut_excerpt(clips[number], chosen[:: rng.choice([-1, 1])], window)
                bgr = np.stack([photographed(rng, picture) for picture in excerpt.bgr])
                return excerpt._replace(bgr=bgr)
        message = (
            f"frames: {frames} pictures in a row that overlap are too many for the training "
            "clips: lower it, or give more rooms or sequences"
        )
        raise SettingError(message)


def cut_excerpt(clip: Clip, frames: Sequence[int], window: Window) -> Excerpt:
    """Cut a window out of pictures of a clip."""
    chosen = np.array(frames)
    disps = np.stack([_disparity(clip, frame, window) for frame in frames])
    relative = np.linalg.inv(clip.poses[chosen]) @ clip.poses[chosen[0]]
    if window.mirrored:
        relative = _MIRROR @ relative @ _MIRROR
    scale = disps[disps > 0].mean()
    relative[:, :3, 3] *= scale
    bgr = np.stack([window.cut(clip.bgr[frame]) for frame in frames])
    intrinsics = window.intrinsics(clip.intrinsics)
    return Excerpt(bgr, (disps / scale).astype(np.float32), relative, intrinsics)


def batch_of_excerpts(excerpts: Sequence[Excerpt], told: int) -> dict[str, Tensor]:
    """Stack n excerpts, the first `told` poses of which are given.

    Returns:
        `pictures` (n, F, 3, H, W) uint8 BGR, `disps` (n, F, H, W), `poses` (n, F, 7), `intrinsics`
        (n, 4): see `Excerpt`; `free` (n, F) bool, poses that are to be found.
    """
    bgr = np.stack([excerpt.bgr for excerpt in excerpts])
    order = np.arange(bgr.shape[1])
    poses = [Trajectory.from_matrices(order, excerpt.poses).poses for excerpt in excerpts]
    return {
        "pictures": torch.from_numpy(bgr).permute(0, 1, 4, 2, 3).contiguous(),
        "disps": torch.from_numpy(np.stack([excerpt.disps for excerpt in excerpts])),
        "poses": torch.from_numpy(np.stack(poses)).float(),
        "intrinsics": torch.from_numpy(np.stack([each.intrinsics for each in excerpts])).float(),
        "free": torch.from_numpy(order >= told).repeat(len(excerpts), 1),
    }


def _successors(pairs: FramePairs) -> dict[tuple[int, int], NDArray[np.int64]]:
    near = (pairs.motions >= _NEAREST) & (pairs.motions <= _FARTHEST)
    found: dict[tuple[int, int], list[int]] = {}
    for clip, source, target in pairs.pairs[near].tolist():
        if target > source:
            found.setdefault((clip, source), []).append(target)
    return {picture: np.array(targets) for picture, targets in found.items()}


def _walk(
    rng: np.random.Generator,
    successors: dict[tuple[int, int], NDArray[np.int64]],
    clip: int,
    length: int,
    frames: int,
) -> list[int]:
    """Go from one picture to a next one; fewer than `frames` where there is none."""
    chosen = [int(rng.integers(length))]
    while len(chosen) < frames and (clip, chosen[-1]) in successors:
        chosen.append(int(rng.choice(successors[clip, chosen[-1]])))
    return chosen


def _disparity(clip: Clip, frame: int, window: Window) -> NDArray[np.float32]:
    """Inverse depth (H, W) of the window's pixels, 0 where unknown."""
    width, height = window.size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    last = np.array(clip.size) - 1
    nearest = np.rint(window.outside(np.stack([x, y], -1))).astype(np.int64).clip(0, last)
    depth = clip.depth[frame][nearest[..., 1], nearest[..., 0]].astype(np.float32)
    known: NDArray[np.float32] = np.divide(1, depth, out=np.zeros_like(depth), where=depth > 0)
    return known
