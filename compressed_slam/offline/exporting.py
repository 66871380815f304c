"""DROID-SLAM's networks as three engines: fnet, cnet, and one step of the update operator.

The lookup of correlation and the bundle adjustment between the steps stay outside of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from compressed_slam.correlation import CHANNELS
from compressed_slam.encoder import STRIDE, normalise
from compressed_slam.network import split
from compressed_slam.update_operator import MOTION_CHANNELS, source_means
from edge_compression.protocol import ExportModel
from edge_runtime.bundle import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

    from compressed_slam.network import DroidNet
    from compressed_slam.widths import DroidConfig

PICTURE = (320, 240)
"""Width and height of the pictures on which engines are measured."""

_EDGES = ((8, 2), (1, 1), (2, 2), (32, 8))  # with their sources: usual, least, localising, most
_MAPS = ("rows", "columns")
# For one frame of a hand-held RGB-D camera (200 of 7-Scenes' RedKitchen made 13 keyframes): one or
# two steps of two edges each to locate it, and some 200 edges for a keyframe, in runs of eight.
_CALLS = {"fnet": 1.0, "cnet": 0.1, "update": 2.5}


class FeatureEncoder(nn.Module):
    """fnet behind the normalisation of its pictures."""

    def __init__(self, droid: DroidNet) -> None:
        super().__init__()
        self.fnet = droid.fnet

    def forward(self, image: Tensor) -> Tensor:
        """Map uint8 BGR (n, 3, H, W) to `fmap`, see `Features`."""
        fmap: Tensor = self.fnet(normalise(image))
        return fmap


class ContextEncoder(nn.Module):
    """cnet behind the normalisation of its pictures."""

    def __init__(self, droid: DroidNet) -> None:
        super().__init__()
        self.cnet = droid.cnet
        self.hidden = droid.config().hidden

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 BGR (n, 3, H, W) to `net` and `inp`, see `Features`."""
        return split(self.cnet(normalise(image)), self.hidden)


class UpdateStep(nn.Module):
    """One step of the update operator, without `upmask`, which tracking does not read."""

    def __init__(self, droid: DroidNet) -> None:
        super().__init__()
        # Without its upmask the operator is no part of this module, only its other layers are.
        self._whole = (droid.update,)
        parts = {
            **dict(droid.update.named_children()),
            **{f"agg_{name}": part for name, part in droid.update.agg.named_children()},
        }
        for name, part in parts.items():
            if name not in {"agg", "agg_upmask"}:
                self.add_module(name, part)

    def forward(
        self, net: Tensor, inp: Tensor, corr: Tensor, motion: Tensor, means: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return `net`, `delta`, `weight`, `eta`, see `Update`; `means`: see `source_means`."""
        [operator] = self._whole
        net, delta, weight = operator.match(net, inp, corr, motion)
        return net, delta, weight, operator.agg.damping(net, means)


def export_models(droid: DroidNet) -> dict[str, ExportModel]:
    """Return what a bundle of these networks has, by model."""
    config = droid.config()
    image = TensorSpec(
        name="image",
        shape=("pictures", 3, "height", "width"),
        dtype="uint8",
        layout="NCHW",
        colour_order="BGR",
    )
    pictures = [{"image": _picture()}]
    net, inp = (
        _maps(name, "pictures", channels)
        for name, channels in (("net", config.hidden), ("inp", config.context))
    )
    step_inputs = [
        _maps("net", "edges", config.hidden),
        _maps("inp", "edges", config.context),
        _maps("corr", "edges", CHANNELS),
        _maps("motion", "edges", MOTION_CHANNELS),
        TensorSpec(name="means", shape=("sources", "edges"), dtype="float32"),
    ]
    step_outputs = [
        _maps("next_net", "edges", config.hidden),
        _maps("delta", "edges", 2),
        _maps("weight", "edges", 2),
        TensorSpec(name="eta", shape=("sources", *_MAPS), dtype="float32"),
    ]
    return {
        "fnet": ExportModel(
            FeatureEncoder(droid),
            [image],
            [_maps("fmap", "pictures", config.features)],
            pictures,
            _CALLS["fnet"],
        ),
        "cnet": ExportModel(ContextEncoder(droid), [image], [net, inp], pictures, _CALLS["cnet"]),
        "update": ExportModel(
            UpdateStep(droid),
            step_inputs,
            step_outputs,
            [_step(config, edges, sources) for edges, sources in _EDGES],
            _CALLS["update"],
        ),
    }


def _maps(name: str, count: str, channels: int) -> TensorSpec:
    return TensorSpec(name=name, shape=(count, channels, *_MAPS), dtype="float32", layout="NCHW")


def _picture() -> Tensor:
    """(1, 3, H, W) uint8, even patches."""
    width, height = PICTURE
    generator = torch.Generator().manual_seed(0)
    patches = torch.randint(256, (1, 3, height // 16, width // 16), generator=generator)
    return patches.repeat_interleave(16, 2).repeat_interleave(16, 3).byte()


def _step(config: DroidConfig, edges: int, sources: int) -> dict[str, Tensor]:
    width, height = (side // STRIDE for side in PICTURE)
    generator = torch.Generator().manual_seed(0)

    def noise(channels: int) -> Tensor:
        return torch.randn((edges, channels, height, width), generator=generator)

    return {
        "net": noise(config.hidden).tanh(),
        "inp": noise(config.context).relu(),
        "corr": noise(CHANNELS),
        "motion": noise(MOTION_CHANNELS),
        "means": source_means(torch.arange(edges) % sources),
    }
