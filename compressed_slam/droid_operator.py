"""DROID-SLAM's networks as the operator of tracking and mapping."""

from __future__ import annotations

from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from compressed_slam.correlation import Correlation, feature_pyramid
from compressed_slam.feature_matching import mutual_nearest
from compressed_slam.matching import Refinement
from compressed_slam.projection import pixel_grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from compressed_slam.frame import Frame
    from compressed_slam.matching import Correspondences

_EDGES_AT_ONCE = {"cpu": 8, "cuda": 64}
"""About: those of one source stay together. On a CPU more take memory, and no less time."""


class Networks(Protocol):
    """What computes the networks: a `DroidNet` in evaluation mode, or a bundle's engines."""

    @property
    def device(self) -> torch.device:
        """Where tensors come from and go to."""

    def feature_maps(self, image_bgr: Tensor, /) -> Tensor:
        """See `DroidNet.feature_maps`."""

    def initial(self, image_bgr: Tensor, /) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the state that edges from images begin with, and their context; by cnet.

        All have n rows; what else they are nobody but the networks knows.
        """

    def match(
        self, net: Tensor, context: Sequence[Tensor], corr: Tensor, motion: Tensor, /
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `UpdateOperator.match`; `context` is that of the edges' sources.

        States are as `initial` makes them.
        """

    def damping(self, net: Tensor, ii: Tensor, /) -> Tensor:
        """Return `eta` alone, see `Update`, of edges in these states from the frames `ii` (E,)."""


class DroidOperator:
    """Answers with the networks' features and update operator, on their device."""

    def __init__(self, networks: Networks) -> None:
        """`networks` are asked for the views of pictures and the steps of edges."""
        self._network = networks

    def warm_up(self, width: int, height: int) -> None:
        """Match a picture of that size with itself, once, so that no camera's has to wait.

        Raises:
            EngineError: the engines do not take what the others give: they are of networks of
                different widths.
        """
        nothing = _View(self._network, np.zeros((height, width, 3), np.uint8), None)
        matcher = self.matcher(lasting=False)
        matcher.add([0], [nothing], [nothing])
        grid = pixel_grid(*nothing.pyramid[0].shape[:2], device=self._network.device)[None]
        matcher.refine(grid, grid)
        matcher.damping()

    def view(self, frame: Frame) -> _View:
        """Run fnet; cnet follows where the view becomes a source of matches."""
        right = None if frame.right is None else _View(self._network, frame.right, None)
        return _View(self._network, frame.bgr, right)

    def correspondences(self, source: Any, target: Any) -> Correspondences:  # noqa: ANN401
        """Compare fnet's features; the views are the operator's own."""
        with torch.inference_mode():
            return mutual_nearest(source.pyramid[0], target.pyramid[0])

    def matcher(self, *, lasting: bool) -> _Matcher:
        """Return one that keeps hidden states in single precision, for `lasting` edges, or in half.

        They bear that for some steps: they lie between -1 and 1.
        """
        return _Matcher(self._network, torch.float32 if lasting else torch.float16)


class _View:
    """Features of one picture, in half precision: hundreds of them are kept."""

    def __init__(self, network: Networks, bgr: NDArray[np.uint8], right: _View | None) -> None:
        self._network = network
        self._bgr = np.ascontiguousarray(bgr)
        self.right = right
        with torch.inference_mode():
            pyramid = feature_pyramid(network.feature_maps(self._image())[0])
        self.pyramid = tuple(level.half() for level in pyramid)

    @cached_property
    def initial(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Hidden state, and context; a row of `Networks.initial` each."""
        with torch.inference_mode():
            net, context = self._network.initial(self._image())
        return net[0].half(), tuple(part[0].half() for part in context)

    def _image(self) -> Tensor:
        picture = torch.from_numpy(self._bgr).to(self._network.device)
        return picture.permute(2, 0, 1)[None].contiguous()


class _Matcher:
    """Hidden states of edges, and what they look up."""

    def __init__(self, network: Networks, precision: torch.dtype) -> None:
        self._network = network
        self._correlation = Correlation()
        self._precision = precision
        self._keys: list[int] = []
        self._sources: list[_View] = []
        self._net = torch.zeros(0)

    def add(self, keys: Sequence[int], sources: Sequence[Any], targets: Sequence[Any]) -> None:
        """See `Matcher`; the views are the operator's own."""
        self._correlation.add([s.pyramid for s in sources], [t.pyramid for t in targets])
        net = torch.stack([source.initial[0].to(self._precision) for source in sources])
        self._net = torch.cat([self._net, net]) if self._keys else net
        self._keys += keys
        self._sources += sources

    def keep(self, mask: Tensor) -> None:
        """See `Matcher`."""
        self._correlation.keep(mask)
        self._net = self._net[mask]
        stays = mask.tolist()
        self._keys = [key for key, stay in zip(self._keys, stays, strict=True) if stay]
        self._sources = [view for view, stay in zip(self._sources, stays, strict=True) if stay]

    @torch.inference_mode()
    def refine(self, coords: Tensor, target: Tensor) -> Refinement:
        """See `Matcher`."""
        grid = pixel_grid(*coords.shape[1:3], device=coords.device)
        delta, weight = torch.empty_like(coords), torch.empty_like(coords)
        for rows in self._parts():
            at = coords[rows]
            motion = torch.cat([at - grid, target[rows] - at], -1)
            contexts = zip(*(self._sources[row].initial[1] for row in rows), strict=True)
            net, moved, sure = self._network.match(
                self._net[rows].float(),
                [torch.stack(parts).float() for parts in contexts],
                self._correlation.lookup(at, rows),
                motion.permute(0, 3, 1, 2).contiguous(),
            )
            self._net[rows] = net.to(self._precision)
            delta[rows] = moved.permute(0, 2, 3, 1)
            weight[rows] = sure.permute(0, 2, 3, 1)
        return Refinement(delta, weight)

    @torch.inference_mode()
    def damping(self) -> Tensor:
        """See `Matcher`."""
        found = []
        for rows in self._parts():
            keys = torch.tensor([self._keys[row] for row in rows], device=self._net.device)
            found.append(self._network.damping(self._net[rows].float(), keys))
        return torch.cat(found)

    def _parts(self) -> Iterator[list[int]]:
        """Edges to compute at once, in rising order of their sources."""
        enough = _EDGES_AT_ONCE[self._net.device.type]
        order = sorted(range(len(self._keys)), key=self._keys.__getitem__)
        part: list[int] = []
        for _, rows in groupby(order, key=self._keys.__getitem__):
            part += rows
            if len(part) >= enough:
                yield part
                part = []
        if part:
            yield part
