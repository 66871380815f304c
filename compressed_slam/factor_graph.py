"""Edges between keyframes: where each one's pixels are seen, and what it says of pose and depth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from compressed_slam.bundle_adjustment import MOST_DEPTH_WEIGHT, Edges, adjust
from compressed_slam.projection import project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from compressed_slam.keyframes import Keyframes
    from compressed_slam.matching import Matcher, View

    Pairs = Sequence[tuple[int, int]]


_BEFORE = 3  # keyframes before the first that is moved, which hold it in place
_ITERATIONS = 2  # of the adjustment after a match
_SMALL = 1e-6


class FactorGraph:
    """Matches and geometry refined in turns, over the rows of `keyframes`.

    An edge that has been refined often enough becomes inactive: it is matched no more, and its last
    answer still counts where keyframes near those that are refined are moved.

    Attributes:
        ii: (E,) rows of the keyframes that the pixels are of.
        jj: (E,) rows of those that see them; with jj = ii, the right picture of a stereo pair.
        ages: (E,) times that each edge was refined.
        changes: (E,) how far from the match before the last one was, and how far the geometry had
            moved in between: mean of both together, map pixels; sure pixels count more. Infinite
            before the first.
    """

    def __init__(
        self,
        keyframes: Keyframes,
        matcher: Matcher,
        intrinsics: Tensor,
        baseline: Tensor | None,
        *,
        depth_weight: float,
        lm: float,
        ep: float,
    ) -> None:
        """Begin without edges.

        Args:
            keyframes: that edges are between.
            matcher: of the edges, empty.
            intrinsics: (4,) of the maps.
            baseline: see `Tracker`.
            depth_weight: see `SlamSettings`.
            lm: damps the poses, see `bundle_adjustment.adjust`.
            ep: likewise.
        """
        self._keyframes = keyframes
        self._matcher = matcher
        self._intrinsics = intrinsics
        self._baseline = baseline
        self._depth_weight, self._lm, self._ep = depth_weight, lm, ep
        none = torch.zeros(0, dtype=torch.long, device=intrinsics.device)
        maps = intrinsics.new_zeros((0, *keyframes.disps.shape[1:], 2))
        self.ii = self.jj = self.ages = none
        self.changes = intrinsics.new_zeros(0)
        self._coords = self._target = self._weight = maps
        self._inactive = Edges(none, none, maps, maps)

    def __len__(self) -> int:
        """The number of edges that are refined."""
        return len(self.ii)

    def pairs(self) -> list[tuple[int, int]]:
        """Return the edges that are refined, as (i, j)."""
        return list(zip(self.ii.tolist(), self.jj.tolist(), strict=True))

    def add(self, pairs: Pairs) -> None:
        """Take edges in; they begin where the geometry puts their pixels."""
        if not pairs:
            return
        views, ids = self._keyframes.views, self._keyframes.ids
        self._matcher.add(
            [ids[i] for i, _ in pairs],
            [views[i] for i, _ in pairs],
            [self._seer(*p) for p in pairs],
        )
        ii, jj = torch.tensor(pairs, device=self.ii.device).T
        coords = self._project(ii, jj)
        self.ii, self.jj = torch.cat([self.ii, ii]), torch.cat([self.jj, jj])
        self.ages = torch.cat([self.ages, torch.zeros_like(ii)])
        unmatched = self.changes.new_full((len(ii),), torch.inf)
        self.changes = torch.cat([self.changes, unmatched])
        self._coords = torch.cat([self._coords, coords])
        self._target = torch.cat([self._target, coords])
        self._weight = torch.cat([self._weight, torch.zeros_like(coords)])

    def inactive_pairs(self) -> list[tuple[int, int]]:
        """Return the edges that are refined no more, as (i, j)."""
        return list(zip(self._inactive.ii.tolist(), self._inactive.jj.tolist(), strict=True))

    def deactivate(self, done: Tensor, oldest: int) -> None:
        """Refine the edges `done` (E,) no more; forget inactive ones of rows before `oldest`."""
        both = _joined(self._inactive, Edges(*(part[done] for part in self._edges)))
        recent = (both.ii >= oldest) & (both.jj >= oldest)
        self._inactive = Edges(*(part[recent] for part in both))
        self._keep(~done)

    def remove(self, row: int) -> None:
        """Forget a keyframe's edges, before the keyframe itself is removed."""
        self._keep((self.ii != row) & (self.jj != row))
        ii, jj, *maps = self._inactive
        others = (ii != row) & (jj != row)
        ii, jj = (rows[others] - (rows[others] > row).long() for rows in (ii, jj))
        self._inactive = Edges(ii, jj, *(part[others] for part in maps))
        self.ii, self.jj = (rows - (rows > row).long() for rows in (self.ii, self.jj))

    def refine(self, free: Tensor) -> bool:
        """Match once, then adjust the poses of the rows `free` (N,) and the sources' depths.

        Returns:
            Whether the adjustment could be solved; if not, poses and depths are what they were.
        """
        if len(self):
            self._match()
        edges = _joined(self._around(free), self._edges)
        return not len(edges.ii) or self._adjust(free, edges, _ITERATIONS)

    def settle(self, free: Tensor, end: int, iterations: int, *, depths: bool = True) -> None:
        """Adjust to the matches there are, those between rows before `end`, as `refine` does.

        With `depths` false poses alone are moved.
        """
        within = (self.ii < end) & (self.jj < end)
        edges = Edges(*(part[within] for part in self._edges))
        self._adjust(free, edges, iterations, depths=depths)

    def misfit(self) -> float:
        """Return the root mean square distance of matches from where the geometry puts them.

        In map pixels; matches count by their weight, edges that are refined no more do not.
        """
        missed = self._target - self._project(self.ii, self.jj)
        return ((self._weight * missed.square()).sum() / self._weight.sum()).sqrt().item()

    @property
    def confidences(self) -> Tensor:
        """(E,) mean weight of each edge's last match, 0..1; 0 before the first."""
        return self._weight.mean((1, 2, 3))

    @property
    def _edges(self) -> Edges:
        return Edges(self.ii, self.jj, self._target, self._weight)

    def _match(self) -> None:
        keyframes = self._keyframes
        coords = self._project(self.ii, self.jj)
        found = self._matcher.refine(coords, self._target)
        target, sure = coords + found.delta, found.weight.mean(-1)
        moved = (target - self._target).norm(dim=-1) + (coords - self._coords).norm(dim=-1)
        self.changes = (moved * sure).sum((1, 2)) / sure.sum((1, 2)).clamp(min=_SMALL)
        self._coords, self._target, self._weight = coords, target, found.weight
        self.ages = self.ages + 1
        keyframes.damping[torch.unique(self.ii)] = self._matcher.damping()

    def _adjust(self, free: Tensor, edges: Edges, iterations: int, *, depths: bool = True) -> bool:
        keyframes, count = self._keyframes, len(self._keyframes)
        adjusted = adjust(
            keyframes.poses[:count],
            keyframes.disps[:count],
            self._intrinsics,
            edges,
            keyframes.damping[torch.unique(edges.ii)] if depths else None,
            free=free,
            iterations=iterations,
            measured=keyframes.measured[:count],
            baseline=self._baseline,
            depth_weight=self._depth_weight or keyframes.depth_weight,
            weigh_depth=not self._depth_weight,
            lm=self._lm,
            ep=self._ep,
        )
        keyframes.poses[:count] = adjusted.poses
        keyframes.disps[:count] = adjusted.disps
        if adjusted.depth_weight is not None:
            asked = min(adjusted.depth_weight, MOST_DEPTH_WEIGHT)
            keyframes.depth_weight = math.sqrt(keyframes.depth_weight * asked)
        return adjusted.solved

    def _around(self, free: Tensor) -> Edges:
        """Return the inactive edges between what is moved, or comes shortly before it."""
        first = free.int().argmax() - _BEFORE
        near = (self._inactive.ii >= first) & (self._inactive.jj >= first)
        return Edges(*(part[near] for part in self._inactive))

    def _seer(self, i: int, j: int) -> View:
        view = self._keyframes.views[j]
        return view.right if i == j and view.right is not None else view

    def _project(self, ii: Tensor, jj: Tensor) -> Tensor:
        keyframes = self._keyframes
        return project(
            keyframes.poses, keyframes.disps, self._intrinsics, ii, jj, baseline=self._baseline
        )[0]

    def _keep(self, mask: Tensor) -> None:
        if mask.all():
            return
        self._matcher.keep(mask)
        self.ii, self.jj, self.ages = self.ii[mask], self.jj[mask], self.ages[mask]
        self.changes = self.changes[mask]
        self._coords, self._target, self._weight = (
            maps[mask] for maps in (self._coords, self._target, self._weight)
        )


def _joined(first: Edges, second: Edges) -> Edges:
    return Edges(*(torch.cat(parts) for parts in zip(first, second, strict=True)))
