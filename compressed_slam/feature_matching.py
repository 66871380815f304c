"""Which pixels of two pictures look most alike, wherever in the pictures they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's customary name

from compressed_slam.matching import Correspondences

if TYPE_CHECKING:
    from torch import Tensor


def mutual_nearest(source: Tensor, target: Tensor) -> Correspondences:
    """Pair the pixels whose features are each other's nearest, by the cosine about their mean.

    Between the pixels of the target it is where a parabola through the likeness has its peak.

    Args:
        source: (h, w, channels) features.
        target: the same of the other picture.
    """
    height, width, _ = source.shape
    likeness = _directions(source) @ _directions(target).T
    # Faster than argmax.
    nearest, back = likeness.max(1).indices, likeness.max(0).indices
    mutual = back[nearest] == torch.arange(len(nearest), device=nearest.device)
    y, x = nearest // width, nearest % width
    at = torch.stack(
        [_peak(likeness, nearest, x, width, 1), _peak(likeness, nearest, y, height, width)], -1
    )
    return Correspondences(at.view(height, width, 2), mutual.view(height, width))


def _directions(features: Tensor) -> Tensor:
    features = features.flatten(0, 1).float()
    return F.normalize(features - features.mean(0), dim=1)


def _peak(likeness: Tensor, nearest: Tensor, place: Tensor, count: int, step: int) -> Tensor:
    """Refine `place`, which of `count` rows or columns `nearest` is in, `step` apart."""
    inside = (place > 0) & (place < count - 1)
    before, here, after = (
        likeness.gather(1, (nearest + shift * inside)[:, None])[:, 0] for shift in (-step, 0, step)
    )
    bend = (before + after - 2 * here).clamp(max=-1e-9)
    return place + torch.where(inside, 0.5 * (before - after) / bend, 0.0)
