"""The fully convolutional network of FCN-Pose; needed for training, not on the robot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's customary name
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYPOINT_MAPS = 8
MAPS = KEYPOINT_MAPS + 1
"""Output maps: one for each keypoint, then the skeleton."""

WIDTHS = (32, 40, 40, 48, 48)
_BACKGROUND_LOGIT = -5.0  # nearly every pixel of every map is background


class FCNPose(nn.Module):
    """FCN-Pose (arXiv 2205.13272): 10 convolutions, 5 max-poolings, 4 upsamplings.

    Every encoder stage is a 3x3 convolution, ReLU and 2x2 max-pooling; every decoder stage
    doubles the resolution, convolves, applies ReLU and adds the encoder's map of that resolution.
    The sums tie each decoder stage to an encoder stage, so the encoder's widths describe the
    network. With the default widths it has 131,705 parameters, as published.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        """`widths`: channels of the five encoder stages, the highest resolution first."""
        super().__init__()
        self.widths = tuple(widths)
        first, second, third, fourth, fifth = self.widths
        ins = (3, first, second, third, fourth)
        self.encoder = nn.ModuleList(
            nn.Conv2d(i, o, 3, padding=1) for i, o in zip(ins, self.widths, strict=True)
        )
        steps = ((fifth, fourth), (fourth, third), (third, second), (second, first))
        self.decoder = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in steps)
        self.head = nn.Conv2d(first, MAPS, 3, padding=1)
        for layer in (*self.encoder, *self.decoder):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.constant_(self.head.bias, _BACKGROUND_LOGIT)  # type: ignore[arg-type]

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """The maps before the sigmoid, which the loss wants."""
        skips = []
        features = image
        for layer in self.encoder:
            features = F.max_pool2d(F.relu(layer(features)), 2)
            skips.append(features)
        for layer, skip in zip(self.decoder, reversed(skips[:-1]), strict=True):
            features = F.relu(layer(F.interpolate(features, scale_factor=2.0))) + skip
        maps: torch.Tensor = self.head(features)
        return maps

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Map an image to keypoint maps.

        Args:
            image: (batch, 3, height, width) RGB in 0..1, height and width multiples of 32.

        Returns:
            (batch, 9, height / 2, width / 2) in 0..1: eight keypoints, then the skeleton.
        """
        return self.logits(image).sigmoid()
