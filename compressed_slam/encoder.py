"""The encoders of DROID-SLAM (Teed & Deng 2021): an image becomes maps at 1/8 of its size."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's customary name
from torch import nn

from compressed_slam.widths import EncoderWidths
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor

STRIDE = 8
"""Pixels of the image, along each axis, in one cell of the maps."""

_LEAST_MAP = 16
_MEAN = (0.485, 0.456, 0.406)  # ImageNet's, of RGB in 0..1
_STD = (0.229, 0.224, 0.225)


def normalise(image_bgr: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn (n, 3, H, W) uint8 BGR into the RGB that the encoders take, of the same shape.

    Raises:
        SettingError: H or W is no multiple of 8, or makes maps of fewer than 16 cells.
    """
    height, width = image_bgr.shape[-2:]
    if height % STRIDE or width % STRIDE or min(height, width) < _LEAST_MAP * STRIDE:
        message = (
            f"an image of {width}x{height} pixels does not fit DROID-SLAM's networks: give one "
            f"whose sides are multiples of {STRIDE} and at least {_LEAST_MAP * STRIDE}"
        )
        raise SettingError(message)
    image = image_bgr.flip(1).to(dtype) / 255
    mean, std = (image.new_tensor(values)[:, None, None] for values in (_MEAN, _STD))
    return (image - mean) / std


class ResidualBlock(nn.Module):
    """Two convolutions, added to their input."""

    def __init__(self, ins: int, inner: int, outs: int, *, stride: int, norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(ins, inner, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(inner, outs, 3, padding=1)
        self.norm1 = _norm(inner, norm=norm)
        self.norm2 = _norm(outs, norm=norm)
        shortcut = (nn.Conv2d(ins, outs, 1, stride), _norm(outs, norm=norm)) if stride > 1 else ()
        self.downsample = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, ins, H, W) to (n, outs, H / stride, W / stride)."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        return F.relu(self.downsample(x) + y)


class Encoder(nn.Module):
    """Residual network from a normalised RGB image to maps at 1/8 of its resolution."""

    def __init__(self, widths: EncoderWidths, outs: int, *, norm: bool) -> None:
        super().__init__()
        stages, inner = widths.stages, widths.inner

        def stage(k: int, ins: int, stride: int) -> nn.Sequential:
            first = ResidualBlock(ins, inner[k][0], stages[k], stride=stride, norm=norm)
            second = ResidualBlock(stages[k], inner[k][1], stages[k], stride=1, norm=norm)
            return nn.Sequential(first, second)

        self.conv1 = nn.Conv2d(3, stages[0], 7, stride=2, padding=3)
        self.norm1 = _norm(stages[0], norm=norm)
        self.layer1 = stage(0, stages[0], 1)
        self.layer2 = stage(1, stages[0], 2)
        self.layer3 = stage(2, stages[1], 2)
        self.conv2 = nn.Conv2d(stages[2], outs, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map (n, 3, H, W) to (n, outs, H / 8, W / 8)."""
        x = F.relu(self.norm1(self.conv1(image)))
        maps: Tensor = self.conv2(self.layer3(self.layer2(self.layer1(x))))
        return maps

    def widths(self) -> EncoderWidths:
        """Read the channels off the layers."""
        stages = [
            cast("tuple[ResidualBlock, ResidualBlock]", tuple(stage))
            for stage in (self.layer1, self.layer2, self.layer3)
        ]
        return EncoderWidths.model_validate(
            {
                "stages": [second.conv2.out_channels for _, second in stages],
                "inner": [[block.conv1.out_channels for block in blocks] for blocks in stages],
            }
        )


def _norm(channels: int, *, norm: bool) -> nn.Module:
    return nn.InstanceNorm2d(channels) if norm else nn.Identity()
