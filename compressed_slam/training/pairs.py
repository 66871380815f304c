"""Batches of pairs of pictures with their flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from compressed_slam.training.clips import Window
from compressed_slam.training.layers import PicturePair, layered_pair
from compressed_slam.training.photography import photographed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from compressed_slam.training.frame_pairs import FramePair, FramePairs
    from compressed_slam.training.video_pairs import VideoPairs

_LAYERED = 0.25  # share of the pairs


@dataclass(frozen=True, eq=False)
class PairSource:
    """What pairs are drawn from.

    Attributes:
        walks: pairs of pictures with depth and poses; each kind is drawn from equally often.
        photographs: more pictures for pairs of layers, at least as large as the pairs.
        largest: motion in pictures of the clips' size, pixels.
        videos: one more kind, if there is one.
    """

    walks: Sequence[FramePairs]
    photographs: Sequence[NDArray[np.uint8]]
    largest: float
    videos: VideoPairs | None = None

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> PicturePair:
        """Make a pair of `size` (width, height), as a camera would have taken it."""
        if rng.random() < _LAYERED:
            pair = layered_pair(rng, lambda: self._picture(rng), size, self.largest)
        else:
            pair = self._of_a_scene(rng, size)
        first, second = (photographed(rng, picture) for picture in (pair.first, pair.second))
        return PicturePair(first, second, pair.flow)

    def _of_a_scene(self, rng: np.random.Generator, size: tuple[int, int]) -> PicturePair:
        kind = int(rng.integers(len(self.walks) + (self.videos is not None)))
        if self.videos is not None and kind == len(self.walks):
            return self.videos.draw(rng, size)
        walks = self.walks[kind]
        drawn = walks.draw(rng, self.largest)
        return cut_pair(walks, drawn, random_window(rng, walks.clips[drawn.clip].size, size))

    def _picture(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        kinds = len(self.walks) + bool(self.photographs)
        kind = int(rng.integers(kinds))
        if kind == len(self.walks):
            return self.photographs[int(rng.integers(len(self.photographs)))]
        clips = self.walks[kind].clips
        clip = clips[int(rng.integers(len(clips)))]
        picture: NDArray[np.uint8] = clip.bgr[rng.integers(len(clip))]
        return picture


def cut_pair(walks: FramePairs, pair: FramePair, window: Window) -> PicturePair:
    """Cut a window out of both pictures of a pair."""
    clip = walks.clips[pair.clip]
    first, second = window.cut(clip.bgr[pair.source]), window.cut(clip.bgr[pair.target])
    return PicturePair(first, second, clip.flow(pair.source, pair.target, window))


def batch_of(pairs: Sequence[PicturePair]) -> dict[str, Tensor]:
    """Stack n pairs.

    Returns:
        `image1`, `image2` (n, 3, H, W) uint8 BGR; `flow` (n, 2, h, w) cells, `known` and `visible`
        (n, h, w): see `Flow`.
    """
    pictures = {
        "image1": np.stack([pair.first for pair in pairs]),
        "image2": np.stack([pair.second for pair in pairs]),
        "flow": np.stack([pair.flow.cells for pair in pairs]),
    }
    batch = {
        name: torch.from_numpy(array).permute(0, 3, 1, 2).contiguous()
        for name, array in pictures.items()
    }
    for name in ("known", "visible"):
        masks = np.stack([getattr(pair.flow, name) for pair in pairs])
        batch[name] = torch.from_numpy(masks)
    return batch


def random_window(
    rng: np.random.Generator, whole: tuple[int, int], size: tuple[int, int]
) -> Window:
    """Take a window of the shape of `size` at random, from that size up to the whole picture."""
    most = min(whole[0] / size[0], whole[1] / size[1])
    # As often as not nothing is scaled, so that samples lie on the centres of pixels.
    zoom = 1.0 if rng.random() < 0.5 else rng.uniform(1, most)  # noqa: PLR2004
    extent = int(size[0] * zoom), int(size[1] * zoom)
    x, y = (int(rng.integers(w - e + 1)) for w, e in zip(whole, extent, strict=True))
    return Window((x, y), extent, size, mirrored=bool(rng.random() < 0.5))  # noqa: PLR2004
