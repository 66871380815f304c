"""Edges that the networks are unsure of, matched by features alone.

From far away, or where there is little to see, the update operator finds too little motion, and
what it finds is worse than what the features' nearest neighbours say (see docs/slam.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compressed_slam.matching import SURE, Refinement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from compressed_slam.matching import Correspondences, Matcher

_NEAR = 2.0  # map pixels from where the geometry puts a pixel; farther neighbours are chance
_LEAST_SHARE = 0.04  # of an edge's pixels


class FeatureBacked:
    """A matcher whose unsure edges are answered by correspondences."""

    def __init__(
        self, matcher: Matcher, correspondences: Callable[[Any, Any], Correspondences]
    ) -> None:
        """`matcher` answers for the others; `correspondences` is `Operator.correspondences`."""
        self._matcher = matcher
        self._correspondences = correspondences
        self._views: list[tuple[Any, Any]] = []
        self._found: list[Correspondences | None] = []

    def add(self, keys: Sequence[int], sources: Sequence[Any], targets: Sequence[Any]) -> None:
        """See `Matcher`."""
        self._matcher.add(keys, sources, targets)
        self._views += zip(sources, targets, strict=True)
        self._found += [None] * len(keys)

    def keep(self, mask: Tensor) -> None:
        """See `Matcher`."""
        self._matcher.keep(mask)
        stays = mask.nonzero()[:, 0].tolist()
        self._views = [self._views[edge] for edge in stays]
        self._found = [self._found[edge] for edge in stays]

    def refine(self, coords: Tensor, target: Tensor) -> Refinement:
        """See `Matcher`."""
        found = self._matcher.refine(coords, target)
        delta, weight = found.delta.clone(), found.weight.clone()
        for edge in (weight.mean(dim=(1, 2, 3)) < SURE).nonzero()[:, 0].tolist():
            missed, near = self._around(edge, coords[edge])
            if near.mean() >= _LEAST_SHARE:
                delta[edge], weight[edge] = missed * near, near.expand_as(missed)
        return Refinement(delta, weight)

    def damping(self) -> Tensor:
        """See `Matcher`."""
        return self._matcher.damping()

    def _around(self, edge: int, coords: Tensor) -> tuple[Tensor, Tensor]:
        """(h, w, 2) how far from `coords` an edge's pixels are, (h, w, 1) 1 where that counts."""
        found = self._found[edge]
        if found is None:
            found = self._found[edge] = self._correspondences(*self._views[edge])
        missed = found.target - coords
        near = found.mutual & (missed.norm(dim=-1) < _NEAR)
        return missed, near[..., None].to(coords)
