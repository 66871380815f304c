"""DROID-SLAM's networks as what they learn first: the flow from one picture to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from compressed_slam.correlation import (
    CHANNELS,
    correlate,
    feature_pyramid,
    look_up_differentiably,
)
from compressed_slam.network import DroidNet
from compressed_slam.projection import pixel_grid

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from compressed_slam.correlation import Pyramid
    from compressed_slam.widths import DroidConfig

_FIRST_DAMPING = -4.6  # before the softplus and its scale: 1e-4, about what training comes to


class Match(NamedTuple):
    """What one step makes of n pairs.

    Attributes:
        flow: (n, 2, h, w) x y, cells.
        weight: (n, 2, h, w) in 0..1.
    """

    flow: Tensor
    weight: Tensor


class PairNetwork(nn.Module):
    """The networks and as many steps of the update operator as a pair gets."""

    def __init__(self, config: DroidConfig, iterations: int) -> None:
        """Make the networks with first weights to learn from, and a damping that harms nothing.

        Nothing of a pair's flow tells what the damping should be: until clips do, it is small and
        the same everywhere.
        """
        super().__init__()
        self.droid = DroidNet(config)
        self.iterations = iterations
        for layer in (*self.droid.fnet.modules(), *self.droid.cnet.modules()):
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        weight, bias = self.droid.update.agg.eta[0].parameters()
        nn.init.zeros_(weight)
        nn.init.constant_(bias, _FIRST_DAMPING)

    def forward(self, image1: Tensor, image2: Tensor) -> tuple[Tensor, Tensor]:
        """Return the flow and weight of the last step: (n, 2, h, w) both, flow in cells.

        `image1`, `image2`: (n, 3, H, W) uint8 BGR; see `compressed_slam.encoder.normalise`.
        """
        return self.matches(image1, image2)[-1]

    def matches(
        self,
        image1: Tensor,
        image2: Tensor,
        start: Tensor | None = None,
        adjust: Callable[[Tensor], Tensor] | None = None,
    ) -> list[Match]:
        """Return what every step makes of n pairs.

        Args:
            image1: (n, 3, H, W) uint8 BGR.
            image2: as image1.
            start: (n, h, w, 2) flow to begin with, cells; None is none.
            adjust: stands for the bundle adjustment: makes the positions that the next step starts
                at of those (n, h, w, 2) that the last one saw; None leaves them as they are.
        """
        first, second = self.droid.feature_maps(torch.cat([image1, image2])).chunk(2)
        net, inp = self.droid.context(image1)
        volumes = correlated(first, second)
        grid = pixel_grid(*first.shape[2:], device=first.device)
        coords = grid.expand(len(first), -1, -1, -1)
        if start is not None:
            coords = coords + start
        target = coords
        found = []
        for _ in range(self.iterations):
            motion = torch.cat([coords - grid, target - coords], -1).permute(0, 3, 1, 2)
            around = looked_up(volumes, coords)
            net, delta, weight = self.droid.update.match(net, inp, around, motion)
            seen = coords + delta.float().permute(0, 2, 3, 1)
            found.append(Match((seen - grid).permute(0, 3, 1, 2), weight.float()))
            # As in DROID-SLAM, no gradient passes through the positions.
            target = seen.detach()
            coords = target if adjust is None else adjust(target)
        return found


def correlated(first: Tensor, second: Tensor) -> Pyramid:
    """Correlate n pairs of maps (n, channels, h, w); level l is (n h w, h / 2^l, w / 2^l)."""
    # Half precision is too coarse for the sums.
    with torch.autocast(first.device.type, enabled=False):
        pairs = [
            correlate(feature_pyramid(source)[0].flatten(0, 1), feature_pyramid(target))
            for source, target in zip(first.float(), second.float(), strict=True)
        ]
    return tuple(torch.cat(level) for level in zip(*pairs, strict=True))


def looked_up(volumes: Pyramid, coords: Tensor) -> Tensor:
    """Look up n pairs at coords (n, h, w, 2); returns (n, 196, h, w)."""
    count, height, width, _ = coords.shape
    around = look_up_differentiably(volumes, coords.reshape(count * height, width, 2))
    return around.reshape(CHANNELS, count, height, width).transpose(0, 1)
