"""The latest keyframes, refined as they come: a window of the map that odometry stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from compressed_slam.factor_graph import FactorGraph
from compressed_slam.first_map import resolve_depth_reversal
from compressed_slam.projection import frame_distance
from compressed_slam.proximity import distance_table, nearby, neighbours

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from compressed_slam.keyframes import Keyframes
    from compressed_slam.matching import Operator
    from compressed_slam.settings import SlamSettings

_FIRST_RADIUS, _FIRST_STEPS = 3, 8
_STEPS, _MORE_STEPS = 3, 2
_SEARCHED = 5  # latest keyframes that look for partners
_SETTLED = 0.2  # map pixels, see `FactorGraph.changes`, under which an edge is matched no more
_LM, _EP = 1e-4, 0.1


class Frontend:
    """Steps once for every new keyframe."""

    def __init__(
        self,
        settings: SlamSettings,
        keyframes: Keyframes,
        operator: Operator,
        intrinsics: Tensor,
        baseline: Tensor | None,
    ) -> None:
        """Begin with an empty graph over `keyframes`."""
        self._settings = settings
        self._keyframes = keyframes
        self._intrinsics = intrinsics
        self._graph = FactorGraph(
            keyframes,
            operator.matcher(lasting=True),
            intrinsics,
            baseline,
            depth_weight=settings.depth_weight,
            lm=_LM,
            ep=_EP,
        )

    def start(self) -> bool:
        """Make a first map of all keyframes there are, the first one's pose as it is.

        Returns:
            Whether it could be solved.
        """
        count = len(self._keyframes)
        self._graph.add([*neighbours(0, count, _FIRST_RADIUS), *self._stereo_pairs(0)])
        self._refine(1, _FIRST_STEPS)
        if count > 1:  # a map with a scale of its own begins with one keyframe
            resolve_depth_reversal(self._graph, self._keyframes)
        self._graph.add(self._nearby(0, 0, self._settings.max_edges - len(self._graph)))
        return self._refine(1, _FIRST_STEPS)

    def step(self, partner: int | None = None, behind: Callable[[], bool] = lambda: False) -> None:
        """Work the newest keyframe in; the one before is given up if it says nothing new.

        Args:
            partner: row of an older keyframe that sees the same, if the newest does not follow
                those before it.
            behind: whether the next keyframe waits; its steps refine the same edges further.
        """
        settings, graph, keyframes = self._settings, self._graph, self._keyframes
        first = max(0, len(keyframes) - settings.window)
        # Of what is older than the window, an edge that becomes inactive would say nothing more.
        settled = (graph.changes < _SETTLED) & (torch.minimum(graph.ii, graph.jj) >= first)
        graph.deactivate(settled | (graph.ages > settings.max_age), first)
        newest = len(keyframes) - 1
        pairs = [] if partner is None else [(partner, newest), (newest, partner)]
        pairs += self._nearby(first, max(first, len(keyframes) - _SEARCHED), settings.max_edges)
        graph.deactivate(self._oldest(len(graph) + len(pairs) - settings.max_edges), first)
        graph.add(pairs)
        self._refine(first + 1, _STEPS)
        row = len(keyframes) - 2
        if row > 0 and self._distance(row - 1, row) < settings.keyframe_threshold:
            self.retire(row)
        elif not behind():
            self._refine(first + 1, _MORE_STEPS)

    def retire(self, row: int) -> None:
        """Let a keyframe and its edges go; its pose follows the next one in time."""
        self._graph.remove(row)
        self._keyframes.retire(row)

    def _oldest(self, count: int) -> Tensor:
        """(E,) the `count` edges that were refined most often, of equals those farthest back."""
        graph = self._graph
        order = graph.ages * len(self._keyframes) - torch.maximum(graph.ii, graph.jj)
        oldest = torch.zeros_like(order, dtype=torch.bool)
        oldest[order.argsort(descending=True)[: max(0, count)]] = True
        return oldest

    def _refine(self, first_free: int, steps: int) -> bool:
        """Move keyframes from `first_free` on, but not those before the first that is refined."""
        rows = torch.arange(len(self._keyframes), device=self._intrinsics.device)
        refined = self._graph.ii.min() if len(self._graph) else 0
        free = (rows >= first_free) & (rows > refined)
        for _ in range(steps):
            solved = self._graph.refine(free)
        return solved

    def _distance(self, i: int, j: int) -> float:
        keyframes, beta = self._keyframes, self._settings.beta
        rows = torch.tensor([[i], [j]], device=self._intrinsics.device)
        return frame_distance(
            keyframes.poses, keyframes.disps, self._intrinsics, *rows, beta=beta
        ).item()

    def _nearby(self, first: int, searched: int, room: int) -> list[tuple[int, int]]:
        """Return new edges of keyframes from `searched` on with those from `first` on."""
        settings, keyframes, count = self._settings, self._keyframes, len(self._keyframes)
        distances = distance_table(
            keyframes.poses[first:count],
            keyframes.disps[first:count],
            self._intrinsics,
            beta=settings.beta,
            since=searched - first,
        )
        pairs = self._graph.pairs() + self._graph.inactive_pairs()
        taken = [(i - first, j - first) for i, j in pairs if i != j and min(i, j) >= first]
        chosen = nearby(distances, settings.frontend, taken, room, since=searched - first)
        return [*((i + first, j + first) for i, j in chosen), *self._stereo_pairs(searched)]

    def _stereo_pairs(self, first: int) -> list[tuple[int, int]]:
        """The edges from a left picture to its right one that are still to be made."""
        pairs = self._graph.pairs() + self._graph.inactive_pairs()
        there = {i for i, j in pairs if i == j}
        views = self._keyframes.views
        return [
            (row, row)
            for row in range(first, len(views))
            if views[row].right is not None and row not in there
        ]
