"""The baseline: the network of Visual Pushing and Grasping (Zeng et al. 2018); not for the robot.

Its tensors have the published names, so that published weights load.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from compressed_grasp.action import Kind
    from compressed_grasp.q_policy import Run

ROTATIONS = 16
_JAW_ANGLES = 8  # jaws half a turn on are the same
_GROWTH, _BOTTLENECK = 32, 128  # channels of a dense layer
_BLOCKS = (6, 12, 24, 16)  # layers of DenseNet-121
_FIRST = 64
_CLASSES = 1000  # of ImageNet; the classifier is loaded and not used
_FEATURES = 1024
_SIDE, _ZOOMED, _PADDED = 224, 448, 640  # pixels
_HEIGHT_MEAN, _HEIGHT_STD = 0.01, 0.03  # metres
_STRIDE = 16  # of what is upsampled
# Dense layers in checkpoints of older torchvision: norm.1, now norm1.
_OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


class VPGNet(nn.Module):
    """Four DenseNet-121 trunks (push and grasp, colour and height) and two heads.

    Batch norm uses the statistics of the image at hand, as the published inference does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.push_color_trunk = _DenseNet()
        self.push_depth_trunk = _DenseNet()
        self.grasp_color_trunk = _DenseNet()
        self.grasp_depth_trunk = _DenseNet()
        self.pushnet = _head("push")
        self.graspnet = _head("grasp")

    def forward(
        self, color: Tensor | None, height: Tensor, rotations: Sequence[int] = range(ROTATIONS)
    ) -> Tensor:
        """Return the values of pushes and grasps along some of the angles k * 22.5 degrees.

        Args:
            color: (1, 3, s, s) normalised, s a multiple of 32; None as in `values`.
            height: (1, 3, s, s) the same, three times.
            rotations: k of each angle.

        Returns:
            (2, len(rotations), s / 2, s / 2): pushes, then grasps.
        """
        kinds: tuple[Kind, ...] = ("push", "grasp")
        return torch.stack(
            [
                torch.stack([self.values(kind, color, height, k) for k in rotations])
                for kind in kinds
            ]
        )

    def values(self, kind: Kind, color: Tensor | None, height: Tensor, k: int) -> Tensor:
        """Return the values (s / 2, s / 2) of one primitive along k * 22.5 degrees.

        Without `color` the features of its trunk are zero, which is what it makes of ImageNet's
        mean colour before it has learnt anything; it is not run.
        """
        color_trunk, depth_trunk, head = {
            "push": (self.push_color_trunk, self.push_depth_trunk, self.pushnet),
            "grasp": (self.grasp_color_trunk, self.grasp_depth_trunk, self.graspnet),
        }[kind]
        depth = depth_trunk.features(_rotate(height, -k))
        if color is None:
            seen = torch.zeros_like(depth)
        else:
            seen = color_trunk.features(_rotate(color, -k))
        value = _rotate(head(torch.cat([seen, depth], dim=1)), k)
        return functional.interpolate(
            value, scale_factor=_STRIDE, mode="bilinear", align_corners=True
        )[0, 0]


def height_image(height: Tensor) -> Tensor:
    """Return heights (224, 224) [m] as (1, 3, 640, 640) normalised; beyond the map is the table."""
    heights = (height[..., None].expand(-1, -1, 3) - _HEIGHT_MEAN) / _HEIGHT_STD
    return _padded(heights, heights.new_full((3,), -_HEIGHT_MEAN / _HEIGHT_STD))


def zoomed(height: Tensor) -> Tensor:
    """Return a map (112, 112) of cells of 4 mm as (224, 224) of 2 mm."""
    return height.repeat_interleave(2, 0).repeat_interleave(2, 1)


def cell_values(values: Tensor) -> Tensor:
    """Return of values (n, 320, 320) those of the map's cells of 4 mm, (n, 112, 112)."""
    return functional.avg_pool2d(_cropped(values), 2)


def load_run(file: Path) -> Run:
    """Return what `QPolicy` asks for Q maps: the network of a file, which sees heights only.

    It computes in bfloat16, as when it was trained, and grasps for half of the turns.

    Raises:
        SettingError: The file is none of a state dict of this network.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        reason = " ".join(str(error).split())
        message = f"'{file}' holds no state dict of VPG's reinforcement network: {reason}"
        raise SettingError(message) from error
    network = load_vpg(state).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        height = height_image(zoomed(torch.from_numpy(inputs["height"][0, 0])))
        height = height.contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            pushes = [network.values("push", None, height, k) for k in range(ROTATIONS)]
            grasps = [network.values("grasp", None, height, k) for k in range(_JAW_ANGLES)]
        q = torch.stack([*pushes, *grasps, *grasps])
        # What is expected to be worth less than nothing is worth nothing.
        return {"q": cell_values(q.float()).clamp_min(0)[None].numpy()}

    return run


def load_vpg(state: Mapping[str, Tensor]) -> VPGNet:
    """Make a network of a published state dict, of which every tensor is used.

    Raises:
        SettingError: A tensor is missing, or one is left over, or has another shape.
    """
    renamed = {
        _OLD_NAME.sub(r"\1\2.", name): tensor
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    }
    network = VPGNet()
    expected = network.state_dict()
    wrong = {
        "missing": sorted(expected.keys() - renamed.keys()),
        "unexpected": sorted(renamed.keys() - expected.keys()),
        "of another shape": sorted(
            name
            for name in expected.keys() & renamed.keys()
            if expected[name].shape != renamed[name].shape
        ),
    }
    found = [f"{len(names)} {kind} (such as {names[0]})" for kind, names in wrong.items() if names]
    if found:
        message = (
            f"weights are refused: tensors {', '.join(found)}; give a state dict of VPG's "
            "reinforcement network"
        )
        raise SettingError(message)
    network.load_state_dict(renamed)
    return network


def _cropped(values: Tensor) -> Tensor:
    """Return of values (..., 320, 320) those of the map (..., 224, 224)."""
    margin = (_PADDED - _ZOOMED) // 4
    inside = slice(margin, margin + _SIDE)
    return values[..., inside, inside]


def _padded(image: Tensor, border: Tensor) -> Tensor:
    """Zoom (224, 224, 3) twofold, nearest, and pad to (1, 3, 640, 640)."""
    zoomed = image.repeat_interleave(2, 0).repeat_interleave(2, 1).permute(2, 0, 1)
    padded = border[:, None, None].repeat(1, _PADDED, _PADDED)
    margin = (_PADDED - _ZOOMED) // 2
    padded[:, margin : margin + _ZOOMED, margin : margin + _ZOOMED] = zoomed
    return padded[None]


def _rotate(image: Tensor, k: int) -> Tensor:
    """Turn (1, c, s, s) by k * 22.5 degrees about its middle, nearest; 0 where nothing was."""
    angle = torch.tensor(2 * torch.pi * k / ROTATIONS)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    zero = torch.zeros(())
    affine = torch.stack([cosine, sine, zero, -sine, cosine, zero]).view(1, 2, 3).to(image)
    grid = functional.affine_grid(affine, list(image.shape), align_corners=True)
    return functional.grid_sample(image, grid, mode="nearest", align_corners=True)


class _BatchNorm(nn.Module):
    """Batch norm by the batch's own statistics; the running ones are kept and not used."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(x, None, None, self.weight, self.bias, training=True)


class _DenseLayer(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = _BatchNorm(channels)
        self.conv1 = nn.Conv2d(channels, _BOTTLENECK, 1, bias=False)
        self.norm2 = _BatchNorm(_BOTTLENECK)
        self.conv2 = nn.Conv2d(_BOTTLENECK, _GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.conv1(functional.relu(self.norm1(x), inplace=True))
        new = self.conv2(functional.relu(self.norm2(narrow), inplace=True))
        return torch.cat([x, new], dim=1)


class _DenseNet(nn.Module):
    """DenseNet-121 (Huang et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, _FIRST, 7, 2, 3, bias=False),
            norm0=_BatchNorm(_FIRST),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, 2, 1),
        )
        channels = _FIRST
        for number, layers in enumerate(_BLOCKS, 1):
            parts[f"denseblock{number}"] = nn.Sequential(
                OrderedDict(
                    (f"denselayer{k + 1}", _DenseLayer(channels + k * _GROWTH))
                    for k in range(layers)
                )
            )
            channels += layers * _GROWTH
            if number < len(_BLOCKS):
                parts[f"transition{number}"] = nn.Sequential(
                    OrderedDict(
                        norm=_BatchNorm(channels),
                        relu=nn.ReLU(),
                        conv=nn.Conv2d(channels, channels // 2, 1, bias=False),
                        pool=nn.AvgPool2d(2, 2),
                    )
                )
                channels //= 2
        parts["norm5"] = _BatchNorm(channels)
        self.features = nn.Sequential(parts)
        self.classifier = nn.Linear(channels, _CLASSES)


def _head(name: str) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            [
                (f"{name}-norm0", _BatchNorm(2 * _FEATURES)),
                (f"{name}-relu0", nn.ReLU()),
                (f"{name}-conv0", nn.Conv2d(2 * _FEATURES, 64, 1, bias=False)),
                (f"{name}-norm1", _BatchNorm(64)),
                (f"{name}-relu1", nn.ReLU()),
                (f"{name}-conv1", nn.Conv2d(64, 1, 1, bias=False)),
            ]
        )
    )
