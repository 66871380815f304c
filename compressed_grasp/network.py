"""The compact policy's network: one pass over a height map gives the values of all actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTHS = (32, 48, 64, 96)
_ANGLES = 16
_JAW_ANGLES = 8  # grasps half a turn apart are the same
_SCALE = 10.0  # heights in metres to numbers about 1


class GraspNet(nn.Module):
    """U-Net whose channels are angles (as ORANGE, arXiv 2006.05123).

    It works at half of the map's resolution and below; its last layer gives four cells at a time
    (sub-pixel convolution, Shi et al. 2016). Only what 8-bit engines do well: convolutions, ReLU,
    nearest upsampling, addition.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        """Make it with so many channels at 1/2, 1/4, 1/8 and 1/16 of the resolution."""
        super().__init__()
        self.widths = tuple(widths)
        first = self.widths[0]
        self.stem = _layer(1, first, 5, stride=2)
        self.down = nn.ModuleList(
            nn.Sequential(
                *([] if k == 0 else [_layer(self.widths[k - 1], width, 3, stride=2)]),
                _layer(width, width, 3),
                _layer(width, width, 3),
            )
            for k, width in enumerate(self.widths)
        )
        self.narrow = nn.ModuleList(
            _layer(wide, narrow, 1)
            for narrow, wide in zip(self.widths, self.widths[1:], strict=False)
        )
        self.up = nn.ModuleList(_layer(width, width, 3) for width in self.widths[:-1])
        self.head = nn.Conv2d(first, 4 * (_ANGLES + _JAW_ANGLES), 1)

    def logits(self, height: Tensor) -> Tensor:
        """(n, 1, h, w) metres above the table, unseen 0, to (n, 24, h, w); sides multiples of 16.

        Channels 0-15 are pushes, the others grasps with the jaws across k * 22.5 degrees, k < 8.
        """
        x = self.stem(height * _SCALE)
        skips = []
        for level in self.down:
            x = level(x)
            skips.append(x)
        for k in reversed(range(len(self.up))):
            x = functional.interpolate(self.narrow[k](x), scale_factor=2.0, mode="nearest")
            x = self.up[k](x + skips[k])
        return functional.pixel_shuffle(self.head(x), 2)

    def forward(self, height: Tensor) -> Tensor:
        """(n, 1, h, w) metres above the table to the values (n, 32, h, w) of actions, 0..1.

        Channels 0-15 are pushes along k * 22.5 degrees, 16-31 grasps across.
        """
        q = self.logits(height).sigmoid()
        pushes, grasps = q[:, :_ANGLES], q[:, _ANGLES:]
        return torch.cat([pushes, grasps, grasps], dim=1)


def _layer(wide: int, narrow: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(wide, narrow, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(narrow),
        nn.ReLU(),
    )
