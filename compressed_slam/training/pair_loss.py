"""What the networks learn from pairs: flow, and how far it can be trusted.

The weight is tied to the scale b of a Laplace distribution of the flow's error: it is
1 / (1 + b^2), b in pixels, which falls as an inverse variance where errors are large and tells no
difference between small ones. What the adjustment weighs matches by is thus learnt without it.

The flow itself learns by its plain error: a network that may call its flow unsure instead of
mending it never begins to look where things went (tried: after 700 steps it said 'still').
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from compressed_slam.encoder import STRIDE

if TYPE_CHECKING:
    from torch import Tensor

    from compressed_slam.training.pair_network import Match, PairNetwork

_GAMMA = 0.85  # weight of a step's loss, of that of the step after it
_LIKELIHOOD = 0.1  # its weight beside the plain error
_SMALLEST_SCALE = 0.1  # pixels
_LEAST_WEIGHT = 1e-4
_LARGEST_ERROR = 64.0  # pixels; what is out of sight may be anywhere

# Edges to a keyframe whose pose is about known begin near the truth, others with no flow at all.
_WARM_STARTS = 0.4  # share of the pairs
_WARM_SHARES = (0.7, 1.1)  # of the true flow
_WARM_ERROR = 1.0  # cells
# The adjustment of poses and depths does not follow the matches everywhere.
_RESIDUALS = 0.5  # share of the pairs
_LARGEST_RESIDUAL = 0.5  # cells


def pair_loss(network: PairNetwork, batch: dict[str, Tensor]) -> Tensor:
    """Run the network as tracking does, and return the loss of all its steps.

    `batch`: see `compressed_slam.training.pairs.batch_of`.
    """
    flow, known = batch["flow"], batch["known"]
    residual = _some(len(flow), _RESIDUALS) * torch.rand(len(flow), 1, 1, 1) * _LARGEST_RESIDUAL

    def adjust(target: Tensor) -> Tensor:
        return target + residual.to(target) * _smooth_fields(target)

    matches = network.matches(batch["image1"], batch["image2"], _starts(flow, known), adjust)
    return sequence_loss(matches, flow, known, batch["visible"])


def sequence_loss(matches: list[Match], flow: Tensor, known: Tensor, visible: Tensor) -> Tensor:
    """Return the loss of all steps, the last of which count most.

    Args:
        matches: of n pairs, one for every step.
        flow: (n, 2, h, w) truth, cells.
        known: (n, h, w), where there is one.
        visible: (n, h, w), where it can be seen; elsewhere only the weight learns.
    """
    seen, everywhere = visible[:, None], known[:, None]
    total = flow.new_zeros(())
    for match in matches:
        error = STRIDE * (match.flow - flow).abs()
        scale = laplace_scale(match.weight)
        found = error.detach().clamp(max=_LARGEST_ERROR)
        negative_log_likelihood = _mean(found / scale + scale.log(), everywhere)
        total = _GAMMA * total + _mean(error, seen) + _LIKELIHOOD * negative_log_likelihood
    return total


def laplace_scale(weight: Tensor) -> Tensor:
    """Return b, pixels, of a weight; no less than a tenth."""
    return (1 / weight.clamp(min=_LEAST_WEIGHT) - 1 + _SMALLEST_SCALE**2).sqrt()


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of (n, 2, h, w) where the mask (n, 1, h, w) is set."""
    return (values * mask).sum() / (2 * mask.sum()).clamp(min=1)


def _starts(flow: Tensor, known: Tensor) -> Tensor:
    """Flow (n, h, w, 2) to begin with: none, or about the truth."""
    count = len(flow)
    share = torch.empty(count, 1, 1, 1).uniform_(*_WARM_SHARES).to(flow)
    mask = known[:, None]
    # Flow is 0 where it is not known.
    mean = flow.sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True).clamp(min=1)
    about = torch.where(mask, flow, mean).permute(0, 2, 3, 1)
    warm = _some(count, _WARM_STARTS).to(flow)
    return warm * (share * about + _WARM_ERROR * _smooth_fields(about))


def _some(count: int, share: float) -> Tensor:
    """(n, 1, 1, 1), 1 for about this share of n, else 0."""
    return (torch.rand(count, 1, 1, 1) < share).float()


def _smooth_fields(like: Tensor) -> Tensor:
    """Vectors (n, h, w, 2), about 1 long, that change evenly over the map, as of a wrong pose."""
    count, height, width, _ = like.shape
    y = torch.linspace(-1, 1, height)[:, None].expand(height, width)
    x = torch.linspace(-1, 1, width).expand(height, width)
    basis = torch.stack([torch.ones_like(x), x, y], -1)
    return (basis @ torch.randn(count, 1, 3, 2)).to(like)
