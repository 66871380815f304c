"""Which two pictures of a clip make a pair to learn from, by how far they are apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compressed_slam.training.clips import map_samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from compressed_slam.training.clips import Clip

_LONGEST_GAP = 24  # pictures between the two of a pair
_FARTHEST = 100.0  # pixels of median motion
_OVERLAP = 0.3  # share of the samples that both pictures must show
_NEAR = 32  # pairs of about the wanted motion, one of which is taken
_MORE_SMALL = 2  # exponent: how much more often small motions are wanted than large ones


class FramePair(NamedTuple):
    """Numbers of a clip and of two of its pictures."""

    clip: int
    source: int
    target: int


@dataclass(frozen=True, eq=False)
class FramePairs:
    """Pairs of pictures of clips.

    Attributes:
        clips: that the pairs are of.
        pairs: (M, 3) clip, source, target, in the order of their motion.
        motions: (M,) median over what both pictures show, pixels.
    """

    clips: Sequence[Clip]
    pairs: NDArray[np.int64]
    motions: NDArray[np.float64]

    @classmethod
    def of(cls, clips: Sequence[Clip]) -> FramePairs:
        """Find the pairs that overlap, in both directions."""
        found = [part for number, clip in enumerate(clips) for part in _pairs(number, clip)]
        pairs = np.concatenate([part for part, _ in found] or [np.zeros((0, 3), np.int64)])
        motions = np.concatenate([motion for _, motion in found] or [np.zeros(0)])
        order = np.argsort(motions, kind="stable")
        return cls(clips, pairs[order], motions[order])

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self.pairs)

    def draw(self, rng: np.random.Generator, largest: float) -> FramePair:
        """Take a pair at random: motions up to `largest` pixels, small ones more often."""
        wanted = largest * rng.random() ** _MORE_SMALL
        place = np.searchsorted(self.motions, wanted) + rng.integers(-_NEAR, _NEAR + 1)
        return FramePair(*self.pairs[np.clip(place, 0, len(self) - 1)].tolist())

    def spread(self, count: int, largest: float) -> list[FramePair]:
        """Take `count` pairs whose motions go evenly from none to `largest` pixels."""
        wanted = np.linspace(0, largest, count)
        places = np.searchsorted(self.motions, wanted).clip(0, len(self) - 1)
        return [FramePair(*self.pairs[place].tolist()) for place in places]


def _pairs(number: int, clip: Clip) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    # Every other sample tells as much.
    pixels = map_samples(clip.size)[::2, ::2].reshape(-1, 2)
    for gap in range(1, min(_LONGEST_GAP, len(clip) - 1) + 1):
        earlier = np.arange(len(clip) - gap)
        for sources, targets in ((earlier, earlier + gap), (earlier + gap, earlier)):
            landing, _, visible = clip.follow(sources, targets, pixels)
            length = np.linalg.norm(landing - pixels, axis=-1)
            length[~visible] = np.nan
            good = visible.mean(axis=1) >= _OVERLAP
            motion = np.full(len(sources), np.inf)
            motion[good] = np.nanmedian(length[good], axis=1)
            good &= motion <= _FARTHEST
            pairs = np.stack([np.full_like(sources, number), sources, targets], axis=1)
            yield pairs[good], motion[good]
