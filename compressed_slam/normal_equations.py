"""The normal equations of dense bundle adjustment, and how its disparities are eliminated.

An edge depends on the poses through its relative pose alone. So its equations are formed for the
relative motion, and carried over to its two poses by `Linearised.chain` only when they are small
matrices, in float64. Information is J^T W J, a gradient J^T W residual; P = h * w pixels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from compressed_slam.projection import Linearised


class Terms(NamedTuple):
    """What linearised edges give to the sums.

    Attributes:
        residual: (E, 2, P) target less projection.
        weight: (E, 2, P), 0 where the projection is not valid.
        jacobian: (E, 7, 2, P) as in `Linearised`.
        weighted: (E, 7, 2, P) the same times `weight`.
    """

    residual: Tensor
    weight: Tensor
    jacobian: Tensor
    weighted: Tensor

    @classmethod
    def of(cls, seen: Linearised, target: Tensor, weight: Tensor) -> Terms:
        """Compare a projection with its target (E, 2, P), with weights (E, 2, P)."""
        weight = weight * seen.valid.unsqueeze(1)
        weighted = seen.jacobian * weight.unsqueeze(1)
        return cls(target - seen.coords, weight, seen.jacobian, weighted)

    def of_motion(self) -> tuple[Tensor, Tensor]:
        """Information (E, 6, 6) and gradient (E, 6) of the relative motion, float64."""
        rows = self.weighted[:, :6].flatten(2)
        information = rows @ self.jacobian[:, :6].flatten(2).mT
        gradient = rows @ self.residual.flatten(1).unsqueeze(-1)
        return information.double(), gradient.squeeze(-1).double()


class PoseSystem:
    """The normal equations of the free poses, float64.

    There is one place more than free poses: it takes what concerns fixed ones, and is never read.
    """

    def __init__(self, free: int, device: torch.device) -> None:
        """`free`: how many poses may move."""
        size = free + 1
        self._information = torch.zeros((size, size, 6, 6), dtype=torch.float64, device=device)
        self._gradient = torch.zeros((size, 6), dtype=torch.float64, device=device)

    def add(self, places: Tensor, information: Tensor, gradient: Tensor) -> None:
        """Add blocks (B, 6 n, 6 n) and (B, 6 n) of the n poses at `places` (B, n)."""
        poses = places.shape[1]
        blocks = information.view(-1, poses, 6, poses, 6).transpose(2, 3)
        rows, columns = places.unsqueeze(2), places.unsqueeze(1)
        self._information.index_put_((rows, columns), blocks, accumulate=True)
        self._gradient.index_put_((places,), gradient.view(-1, poses, 6), accumulate=True)

    def solve(self, lm: float, ep: float) -> Tensor | None:
        """Steps (free + 1, 6), zero for the last place; None as in `solve_damped`."""
        gradient = self._gradient[:-1].flatten()
        blocks = self._information[:-1, :-1].transpose(1, 2)
        information = blocks.reshape(len(gradient), len(gradient))
        step = solve_damped(information, gradient, lm, ep)
        return None if step is None else torch.cat([step, step.new_zeros(6)]).view(-1, 6)


def solve_damped(information: Tensor, gradient: Tensor, lm: float, ep: float) -> Tensor | None:
    """Solve (A + lm diag(A) + ep I) x = b; None if not positive definite, or x not finite."""
    damped = information + torch.diag(lm * information.diagonal() + ep)
    factor, failure = torch.linalg.cholesky_ex(damped)
    step = torch.cholesky_solve(gradient.unsqueeze(-1), factor).squeeze(-1)
    return None if failure or not step.isfinite().all() else step


class Depths:
    """The disparities of K source frames: one unknown a pixel, each alone among its kind."""

    def __init__(
        self, owner: Tensor, curvature: Tensor, pull: Tensor, *, sums_squares: bool = False
    ) -> None:
        """Start without edges; `curvature` and `pull` are taken over and written to.

        Args:
            owner: (E,) which source frame an edge's pixels are of, rising.
            curvature: (K, P) second derivative by the disparities.
            pull: (K, P) gradient of the disparities.
            sums_squares: whether the edges' residuals are summed up for `variance_ratio`.
        """
        self._owner = owner
        self._curvature = curvature
        self._pull = pull
        self._coupling = pull.new_empty((len(owner), 6, pull.shape[1]))  # with the edges' motion
        self._sums_squares = sums_squares
        self._misfit = self._sureness = 0.0

    def add(self, part: slice, terms: Terms) -> None:
        """Take in the edges `part`."""
        by_x, by_y = terms.weighted[:, 6].unbind(1)
        of_x, of_y = terms.jacobian.unbind(2)
        coupling = torch.mul(of_x[:, :6], by_x.unsqueeze(1), out=self._coupling[part])
        coupling.addcmul_(of_y[:, :6], by_y.unsqueeze(1))
        if self._sums_squares:
            self._misfit += (terms.weight * terms.residual.square()).sum().item()
            self._sureness += terms.weight.sum().item()
        owner = self._owner[part]
        self._curvature.index_add_(0, owner, by_x * of_x[:, 6] + by_y * of_y[:, 6])
        self._pull.index_add_(0, owner, (terms.weighted[:, 6] * terms.residual).sum(1))

    def eliminate_from(self, system: PoseSystem, places: Tensor, chain: Tensor) -> None:
        """Take the Schur complement: subtract from the poses' system what disparities explain.

        Args:
            system: of which.
            places: (E, 2) of the edges' two poses in it.
            chain: (E, 6, 12) float64, as in `Linearised`.
        """
        pull = self._pull / self._curvature
        counts = self._owner.bincount(minlength=len(pull)).tolist()
        groups = (torch.split(rows, counts) for rows in (self._coupling, places, chain))
        for source, (coupling, group_places, group_chain) in enumerate(zip(*groups, strict=True)):
            rows = coupling.flatten(0, 1)
            information = (rows / self._curvature[source]) @ rows.T
            gradient = rows @ pull[source]
            across: Tensor = torch.block_diag(*group_chain)  # type: ignore[no-untyped-call]
            system.add(
                group_places.reshape(1, -1),
                -(across.T @ information.double() @ across).unsqueeze(0),
                -(gradient.double() @ across).unsqueeze(0),
            )

    def variance_ratio(self, missing: Tensor, weight: float, least: float) -> float:
        """Return the variance of a match of weight 1 over that of a measured disparity.

        Each is estimated by its squared residuals over their redundancy (variance component
        estimation, Foerstner 1979): the sum of the matches' weights, and the share of each measured
        disparity that the edges alone determine. Where they hardly do, as in turning on the spot,
        a disparity gives way to the poses, and tells nothing of its sensor. Infinite where nothing
        contradicts the sensor.

        Args:
            missing: (K, P) measured less present disparity, 0 where nothing was measured.
            weight: of the measured ones, as it is in `curvature`.
            least: curvature by the edges alone of the disparities that count.
        """
        by_edges = self._curvature - weight
        counts = (missing != 0) & (by_edges > least)
        redundancy = (by_edges / self._curvature)[counts].sum().item()
        squares = self._sureness * missing[counts].square().sum().item()
        return self._misfit * redundancy / squares if squares > 0 else math.inf

    def steps(self, motion: Tensor) -> Tensor:
        """(K, P) steps of the disparities that belong to relative motions (E, 6)."""
        explained = (motion.unsqueeze(1) @ self._coupling).squeeze(1)
        return self._pull.index_add(0, self._owner, explained, alpha=-1) / self._curvature
