"""Dense bundle adjustment: poses and inverse depths that explain where pixels were seen.

Minimises, by Gauss-Newton, the sum over edges and pixels of w |target - projection|^2 (DROID-SLAM,
Teed and Deng 2021), plus `depth_weight` (d - measured d)^2 where a sensor measured. A disparity
touches only the edges of its own frame, so all of them are eliminated by the Schur complement, and
what is left to solve is a dense system of six unknowns a free pose.

Gauge: poses that are not free stay as they are. Two fixed poses also fix a single camera's scale;
with one, the scale stays near that of the first guess, held by nothing but the damping.

State goes in and a new state comes out; inputs are never written to.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from compressed_slam import se3
from compressed_slam.normal_equations import Depths, PoseSystem, Terms
from compressed_slam.projection import linearise

MIN_DISPARITY = 1e-3
WEIGHT = 1e-3
"""What weights are multiplied by before eta, depth_weight and ep are added."""
MOST_DEPTH_WEIGHT = 0.05
"""The published weight of a measured inverse depth."""
ETA, ETA_FLOOR = 0.2, 1e-7
"""Share of `eta` in the curvature of a disparity, and what is added."""
_CHUNK_PIXELS = 1 << 15
"""Pixels of edges that are linearised at once: bounds the memory, and stays near the cache."""


class Edges(NamedTuple):
    """Where pixels were seen: E edges in any order, the same one more than once if need be.

    Attributes:
        ii: (E,) int64 frames that the pixels are of.
        jj: (E,) int64 frames that see them; where it equals `ii`, a stereo pair's second camera.
        target: (E, h, w, 2) x y in frame j.
        weight: (E, h, w, 2) confidence in x and in y, 0..1.
    """

    ii: Tensor
    jj: Tensor
    target: Tensor
    weight: Tensor


class Adjusted(NamedTuple):
    """A new state.

    Attributes:
        poses: (N, 7).
        disps: (N, h, w), those of source frames at least `MIN_DISPARITY`.
        solved: false where a system could not be solved; the state is then the one given.
        depth_weight: that measured depth should have, by the residuals before the last step;
            infinite where nothing contradicts the sensor. None where that was not asked for, or
            cannot be told: nothing was solved, no disparity moved, or nothing was measured.
    """

    poses: Tensor
    disps: Tensor
    solved: bool
    depth_weight: float | None = None


def _planes(edges: Edges) -> Edges:
    """The same with maps (E, 2, P), the layout of `Linearised`, and with weights scaled."""
    target, weight = (
        maps.flatten(1, 2).transpose(1, 2).contiguous() for maps in (edges.target, edges.weight)
    )
    return Edges(edges.ii, edges.jj, target, WEIGHT * weight)


class _Graph(NamedTuple):
    """What stays the same over the iterations.

    Attributes:
        planes: `_planes` of the edges, sorted by source frame.
        places: (E, 2) of the edges' two poses among the free ones, the last place if fixed.
        free: how many poses may move.
        sources: (K,) frames that pixels are of, ascending.
        owner: (E,) each edge's index into `sources`.
    """

    planes: Edges
    places: Tensor
    free: int
    sources: Tensor
    owner: Tensor

    @classmethod
    def of(cls, edges: Edges, free: Tensor) -> _Graph:
        order = edges.ii.argsort(stable=True)
        planes = _planes(Edges(*(rows[order] for rows in edges)))
        first = planes.ii.diff(prepend=planes.ii.new_tensor([-1])) > 0
        count = int(free.sum())
        place = torch.where(free, free.cumsum(0) - 1, count)
        ends = torch.stack([planes.ii, planes.jj], dim=1)
        return cls(planes, place[ends], count, planes.ii[first], first.cumsum(0) - 1)


def _normal_equations(
    graph: _Graph,
    poses: Tensor,
    disps: Tensor,
    intrinsics: Tensor,
    *,
    baseline: Tensor | None,
    depths: Depths | None,
) -> tuple[PoseSystem, Tensor]:
    """The poses' system and the edges' chains (E, 6, 12), float64; `depths` take their share in."""
    system = PoseSystem(graph.free, poses.device)
    chains = poses.new_empty((len(graph.owner), 6, 12), dtype=torch.float64)
    chunk = max(1, _CHUNK_PIXELS // disps[0].numel())
    for start in range(0, len(graph.owner), chunk):
        part = slice(start, start + chunk)
        ii, jj, target, weight = (rows[part] for rows in graph.planes)
        seen = linearise(poses, disps, intrinsics, ii, jj, baseline=baseline)
        terms = Terms.of(seen, target, weight)
        information, gradient = terms.of_motion()
        chain = chains[part] = seen.chain.double()
        system.add(
            graph.places[part],
            chain.mT @ information @ chain,
            (gradient.unsqueeze(1) @ chain).squeeze(1),
        )
        if depths is not None:
            depths.add(part, terms)
    if depths is not None:
        depths.eliminate_from(system, graph.places, chains)
    return system, chains


@torch.no_grad()
def adjust(
    poses: Tensor,
    disps: Tensor,
    intrinsics: Tensor,
    edges: Edges,
    eta: Tensor | None,
    *,
    free: Tensor,
    iterations: int = 2,
    lm: float = 1e-4,
    ep: float = 0.1,
    measured: Tensor | None = None,
    depth_weight: float = 0.05,
    weigh_depth: bool = False,
    baseline: Tensor | None = None,
) -> Adjusted:
    """Move the free poses, and the disparities of all source frames, to where the edges want them.

    Args:
        poses: (N, 7).
        disps: (N, h, w).
        intrinsics: (4,) of the maps.
        edges: what was seen.
        eta: (K, h, w) damping of the disparities of the K source frames, ascending, as the network
            gives it; .2 of it, plus 1e-7, is added to the curvature of disparities that no sensor
            measured. None: disparities stay, only poses move.
        free: (N,) bool, poses that may move.
        iterations: Gauss-Newton steps.
        lm: share of its diagonal that is added to the poses' system after the elimination.
        ep: and what is added besides.
        measured: (N, h, w) inverse depth of a sensor, 0 where unknown.
        depth_weight: of the squared difference from it, beside the weights times .001.
        weigh_depth: whether to find out what that weight should be.
        baseline: (7,) pose of a stereo pair's second camera seen from the first, for edges (i, i).
    """
    graph = _Graph.of(edges, free)
    new_poses, new_disps, asked = poses, disps, None
    for iteration in range(iterations):
        weigh = weigh_depth and iteration == iterations - 1
        depths = None
        if eta is not None:
            curvature = ETA * eta.flatten(1) + ETA_FLOOR
            pull = torch.zeros_like(curvature)
            if measured is not None:
                sensor = measured[graph.sources].flatten(1)
                known = sensor > 0
                missing = sensor - new_disps[graph.sources].flatten(1)
                curvature = curvature.masked_fill(known, depth_weight)
                pull = depth_weight * missing * known
            depths = Depths(graph.owner, curvature, pull, sums_squares=weigh)
        system, chains = _normal_equations(
            graph, new_poses, new_disps, intrinsics, baseline=baseline, depths=depths
        )
        step = system.solve(lm, ep)
        if step is None:
            return Adjusted(poses, disps, solved=False)
        if weigh and depths is not None and measured is not None and known.any():
            asked = WEIGHT * depths.variance_ratio(missing * known, depth_weight, MOST_DEPTH_WEIGHT)
        moved = se3.retract(new_poses[free], step[:-1].to(poses.dtype))
        new_poses = new_poses.index_put((free,), moved)
        if depths is not None:
            motion = (chains @ step[graph.places].flatten(1).unsqueeze(-1)).squeeze(-1)
            change = depths.steps(motion.to(disps.dtype)).view(-1, *disps.shape[1:])
            changed = (new_disps[graph.sources] + change).clamp(min=MIN_DISPARITY)
            new_disps = new_disps.index_copy(0, graph.sources, changed)
            if not changed.isfinite().all():
                return Adjusted(poses, disps, solved=False)
    return Adjusted(new_poses, new_disps, solved=True, depth_weight=asked)
