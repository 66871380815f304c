"""The pose of one picture among keyframes whose poses and depths are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from compressed_slam.bundle_adjustment import Edges, Located, locate
from compressed_slam.projection import pixel_grid, project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from compressed_slam.keyframes import Keyframes
    from compressed_slam.matching import Operator, View

_STEPS = 2


@dataclass(frozen=True)
class Motion:
    """How far a picture is from a keyframe.

    Attributes:
        flow: mean length of the matches' flow, map pixels; unsure matches count less.
        confidence: mean weight of the matches, 0..1.
    """

    flow: float
    confidence: float

    @classmethod
    def of(cls, flow: Tensor, weight: Tensor) -> Motion:
        """Of one edge's flow (h, w, 2) and weight (h, w, 2)."""
        sure = weight.mean(-1)
        length = (flow.norm(dim=-1) * sure).sum() / sure.sum().clamp(min=1e-6)
        return cls(length.item(), sure.mean().item())


@dataclass(frozen=True)
class Localisation:
    """Where a picture was taken from, and by what.

    Attributes:
        located: its pose, world to camera, and how sure that is.
        confidence: mean weight of the matches with the keyframe that matches best, 0..1.
        motion: from the latest of the keyframes.
    """

    located: Located
    confidence: float
    motion: Motion


class Localiser:
    """Matches pictures with keyframes, and moves nothing but the picture's pose."""

    def __init__(self, operator: Operator, intrinsics: Tensor) -> None:
        """`intrinsics` (4,) are those of the maps."""
        self._operator = operator
        self._intrinsics = intrinsics

    def motion(self, source: View, target: View, size: tuple[int, int]) -> Motion:
        """Return how far a picture is from another; `size` is that of the maps, (h, w)."""
        matcher = self._operator.matcher(lasting=False)
        matcher.add([0], [source], [target])
        grid = pixel_grid(*size, device=self._intrinsics.device)[None]
        found = matcher.refine(grid, grid)
        return Motion.of(found.delta[0], found.weight[0])

    def locate(
        self, view: View, guess: Tensor, keyframes: Keyframes, rows: Sequence[int]
    ) -> Localisation:
        """Find a picture's pose from the keyframes `rows`, the latest of them last.

        Args:
            view: of the picture.
            guess: (7,) its pose, world to camera.
            keyframes: hold the pictures that it is matched with.
            rows: of theirs.
        """
        known = torch.tensor(rows, device=guess.device)
        here = len(rows)
        poses = torch.cat([keyframes.poses[known], guess[None]])
        disps = keyframes.disps[known]
        ii = torch.arange(here, device=guess.device)
        jj = torch.full_like(ii, here)
        matcher = self._operator.matcher(lasting=False)
        matcher.add(rows, [keyframes.views[row] for row in rows], [view] * here)
        coords, _ = project(poses, disps, self._intrinsics, ii, jj)
        target = coords
        for _ in range(_STEPS):
            found = matcher.refine(coords, target)
            target = coords + found.delta
            edges = Edges(ii, jj, target, found.weight)
            located = locate(poses, disps, self._intrinsics, edges, here)
            poses[here] = located.pose
            coords, _ = project(poses, disps, self._intrinsics, ii, jj)
        grid = pixel_grid(*disps.shape[1:], device=guess.device)
        return Localisation(
            located,
            confidence=found.weight.mean(dim=(1, 2, 3)).max().item(),
            motion=Motion.of(target[-1] - grid, found.weight[-1]),
        )
