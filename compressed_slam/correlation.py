"""How alike the features of two frames are, around where each pixel is thought to have gone.

Of level l there are the target's features at 1/2^l of their resolution, by 2x2 averages. A lookup
reads the correlation with each level at coords / 2^l and up to 3 cells to every side, between cells
bilinearly, zero outside the map (Teed & Deng 2021, section 3.2).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's customary name

from compressed_slam.correlation_kernels import LEVELS, RADIUS, SIDE, look_up_maps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

Pyramid = tuple[torch.Tensor, ...]
"""The levels of something, the finest first."""

CHANNELS = LEVELS * SIDE**2
"""Of a lookup: level, then x offset, then y offset."""

_FEATURE_SCALE = 0.25
_FAR = 1e4  # cells; in no map


def feature_pyramid(fmap: Tensor) -> Pyramid:
    """Prepare a frame's features (channels, h, w) for correlation; do it once for every frame.

    Returns:
        The levels, (h / 2^l, w / 2^l, channels).
    """
    levels = [_FEATURE_SCALE * fmap[None]]
    for _ in range(1, LEVELS):
        levels.append(F.avg_pool2d(levels[-1], 2))
    return tuple(level[0].permute(1, 2, 0).contiguous() for level in levels)


class Correlation:
    """What the edges of a graph look up; edges come and go.

    Only what a lookup reads is correlated, on the fly. Whole maps, kept for edges that are looked
    up often, would take 5.3 (h w)^2 bytes an edge, 7.7 MB at 30x40, and save little: a sixth of the
    lookups' time with 128 channels, nothing with 64.
    Where gradients are wanted, and on CUDA, PyTorch's own operations compute what a compiled kernel
    does on the CPU, in as many threads as PyTorch has.
    """

    def __init__(self) -> None:
        self._edges: list[tuple[Tensor, Pyramid]] = []

    def __len__(self) -> int:
        """The number of edges."""
        return len(self._edges)

    def add(self, sources: Sequence[Pyramid], targets: Sequence[Pyramid]) -> None:
        """Append edges, from the frames of `sources` to those of `targets` in pairs.

        The pyramids may be kept in half precision; it is computed with single.
        """
        pairs = zip(sources, targets, strict=True)
        self._edges += [(source[0].flatten(0, 1), target) for source, target in pairs]

    def keep(self, mask: Tensor) -> None:
        """Drop the edges where `mask` (E,) is False; the others stay in order."""
        pairs = zip(self._edges, mask.tolist(), strict=True)
        self._edges = [edge for edge, stays in pairs if stays]

    def lookup(self, coords: Tensor, rows: Sequence[int] | None = None) -> Tensor:
        """Look around where the pixels of edges went.

        Args:
            coords: (E, h, w, 2) x y in the target's map; NaN is outside of it.
            rows: which edges, E of them; None for all.

        Returns:
            (E, 196, h, w); on the CPU a view of memory with the channels last.

        Raises:
            ValueError: there are not E edges.
        """
        count, height, width, _ = coords.shape
        edges = self._edges if rows is None else [self._edges[row] for row in rows]
        if count != len(edges):
            message = f"positions of {count} edges for {len(edges)} edges"
            raise ValueError(message)
        out = coords.new_empty((count, height, width, CHANNELS))
        if coords.device.type != "cpu" or _wants_gradients(coords, edges):
            pairs = zip(edges, coords, strict=True)
            seen = [look_up_differentiably(correlate(*edge), at) for edge, at in pairs]
            return torch.stack(seen) if seen else out.permute(0, 3, 1, 2)
        positions = coords.detach().contiguous().view(count, height * width, 2).numpy()
        around = out.view(count, height * width, LEVELS, SIDE**2).numpy()
        if torch.get_num_threads() == 1:
            list(map(_look, edges, positions, around))
        else:
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                list(pool.map(_look, edges, positions, around))
        return out.permute(0, 3, 1, 2)


def _look(edge: tuple[Tensor, Pyramid], positions: NDArray[Any], out: NDArray[Any]) -> None:
    """Fill `out` (pixels, levels, 49) from positions (pixels, 2) at level 0."""
    source, *target = (_single(part.detach()).numpy() for part in (edge[0], *edge[1]))
    for level, cells in enumerate(target):
        look_up_maps(source, cells, positions, np.float32(0.5**level), out[:, level])


def _wants_gradients(coords: Tensor, edges: Sequence[tuple[Tensor, Pyramid]]) -> bool:
    parts = (part for source, target in edges for part in (source, *target))
    return torch.is_grad_enabled() and any(part.requires_grad for part in (coords, *parts))


def correlate(source: Tensor, target: Pyramid) -> Pyramid:
    """Correlate features (pixels, channels) with each level, to (pixels, h / 2^l, w / 2^l)."""
    source = _single(source)
    cells = [_single(level).flatten(0, 1) for level in target]
    return tuple(
        (source @ cell.T).view(-1, *level.shape[:2])
        for cell, level in zip(cells, target, strict=True)
    )


def _single(part: Tensor) -> Tensor:
    return part.float() if part.dtype == torch.float16 else part


def look_up_differentiably(volumes: Pyramid, coords: Tensor) -> Tensor:
    """Look up with PyTorch's operations, which gradients pass through and graphs are traced of.

    Args:
        volumes: see `correlate`; of h w pixels.
        coords: (h, w, 2) x y in the target's map; NaN is outside of it.

    Returns:
        (196, h, w).
    """
    steps = torch.arange(-RADIUS, RADIUS + 1, dtype=coords.dtype, device=coords.device)
    around = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1)  # x first
    near = coords.clamp(-_FAR, _FAR).nan_to_num(_FAR).view(-1, 1, 1, 2)
    seen = []
    for level, volume in enumerate(volumes):
        _, height, width = volume.shape
        x, y = (near / 2**level + around).unbind(-1)
        grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), -1)
        maps = F.grid_sample(volume[:, None], grid, align_corners=False)
        seen.append(maps.flatten(1))
    return torch.cat(seen, 1).T.reshape(CHANNELS, *coords.shape[:2])
