"""Pairs of pictures without depth or poses: their flow is what a teacher network makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
import torch

from compressed_slam.encoder import STRIDE
from compressed_slam.training.clips import Flow, map_samples
from compressed_slam.training.layers import PicturePair
from compressed_slam.training.pairs import random_window
from edge_compression.checkpoint import load_checkpoint
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from compressed_slam.training.pair_network import PairNetwork

    Picture = NDArray[np.uint8]
    Cells = NDArray[np.float32]

_LONGEST_GAP = 12  # pictures between the two of a pair
_OVERLAP = 0.3  # share of the samples that both pictures must show
_TRIES = 4  # to find such a pair
# Forward and backward flow agree, pixels (Sundaram, Brox & Keutzer 2010, eq. 5).
_RELATIVE, _ABSOLUTE = 0.01, 0.5


@dataclass(frozen=True, eq=False)
class VideoPairs:
    """Pairs of pictures of videos.

    Attributes:
        videos: pictures (H, W, 3) in their order, all of one size; two of each at least.
        teacher: that tells their flow.
    """

    videos: Sequence[Sequence[Picture]]
    teacher: PairNetwork

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> PicturePair:
        """Take a pair of `size` (width, height), one that overlaps if a few tries find one."""
        for _ in range(_TRIES):
            video = self.videos[int(rng.integers(len(self.videos)))]
            gap = int(rng.integers(1, min(_LONGEST_GAP, len(video) - 1) + 1))
            earlier = int(rng.integers(len(video) - gap))
            source, target = rng.permutation([earlier, earlier + gap]).tolist()
            height, width = video[source].shape[:2]
            window = random_window(rng, (width, height), size)
            first, second = window.cut(video[source]), window.cut(video[target])
            flow = self._flow(first, second)
            if flow.visible.mean() >= _OVERLAP:
                break
        return PicturePair(first, second, flow)

    @torch.no_grad()
    def _flow(self, first: Picture, second: Picture) -> Flow:
        """Ask the teacher; what it does not find again on the way back is not known."""
        images = torch.from_numpy(np.stack([first, second])).permute(0, 3, 1, 2)
        flow, _ = self.teacher(images, images.flip(0))
        there, back = flow.permute(0, 2, 3, 1).numpy()
        known = consistent(there, back)
        return Flow(np.where(known[..., None], there, 0).astype(np.float32), known, known)


def consistent(there: Cells, back: Cells) -> NDArray[np.bool_]:
    """Tell where flow (h, w, 2) leads to a place from which the flow back leads home; (h, w)."""
    height, width = there.shape[:2]
    samples = map_samples((width * STRIDE, height * STRIDE)) / STRIDE
    nearest = np.rint(samples + there).astype(np.int64)
    inside: NDArray[np.bool_] = np.all((nearest >= 0) & (nearest < (width, height)), axis=-1)
    x, y = np.moveaxis(np.where(inside[..., None], nearest, 0), -1, 0)
    returned = back[y, x]
    lengths = np.square(STRIDE * there).sum(-1) + np.square(STRIDE * returned).sum(-1)
    missed = np.square(STRIDE * (there + returned)).sum(-1)
    agrees: NDArray[np.bool_] = missed < _RELATIVE * lengths + _ABSOLUTE
    return inside & agrees


def read_video(folder: Path, size: tuple[int, int]) -> list[Picture]:
    """Read the pictures of a folder in the order of their names, scaled to cover `size`.

    Raises:
        SettingError: fewer than two pictures, or one that cannot be read or is of another size.
    """
    pictures: list[Picture] = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in {".jpg", ".jpeg", ".png"}:
            continue
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            message = f"picture '{path}' cannot be read: remove it"
            raise SettingError(message)
        scale = max(size[0] / picture.shape[1], size[1] / picture.shape[0])
        scaled = tuple(round(scale * side) for side in picture.shape[1::-1])
        pictures.append(cv2.resize(picture, scaled, interpolation=cv2.INTER_AREA))  # type: ignore[arg-type]
    if len({picture.shape for picture in pictures}) != 1 or len(pictures) < 2:  # noqa: PLR2004 - a pair
        message = (
            f"'{folder}' has {len(pictures)} pictures: a video is two or more, all of one size"
        )
        raise SettingError(message)
    return pictures


def load_teacher(checkpoint: Path) -> PairNetwork:
    """Load the network that tells the flow.

    Raises:
        SettingError: see `load_checkpoint`.
    """
    from compressed_slam.skill import SlamSkill  # which itself needs this package

    return cast("PairNetwork", load_checkpoint(checkpoint, SlamSkill())).eval()
