"""DROID-SLAM's networks as four engines: fnet, cnet, one step of the update operator, the damping.

The lookup of correlation and the bundle adjustment between the steps stay outside of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from compressed_slam.correlation import CHANNELS
from compressed_slam.encoder import STRIDE
from compressed_slam.offline.engine_graphs import (
    ContextEncoder,
    ContextLayers,
    Damping,
    FeatureEncoder,
    UpdateLayers,
    UpdateStep,
)
from compressed_slam.update_operator import MOTION_CHANNELS, source_means
from edge_compression.protocol import ExportModel, LayerCalls
from edge_runtime.bundle import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from compressed_slam.network import DroidNet
    from compressed_slam.widths import DroidConfig

PICTURE = (320, 240)
"""Width and height of the pictures on which engines are measured."""

_EDGES = ((8, 2), (1, 1), (2, 2), (32, 8))  # with their sources: usual, least, localising, most
_MAPS = ("rows", "columns")
# For one frame of a hand-held RGB-D camera (200 of 7-Scenes' RedKitchen made 13 keyframes): one or
# two steps of two edges each to locate it, and some 200 edges for a keyframe, in runs of eight, of
# which the damping is asked, too.
_CALLS = {"fnet": 1.0, "cnet": 0.1, "update": 2.5, "damping": 2.1}


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
    net = _channels_last("net", "edges", config.hidden)
    steps = [_step(config, edges, sources) for edges, sources in _EDGES]
    layer_inputs = _layer_inputs(steps[1][0], config)
    return {
        "fnet": ExportModel(
            FeatureEncoder(droid),
            [image],
            [_maps("fmap", "pictures", config.features)],
            pictures,
            _CALLS["fnet"],
        ),
        "cnet": ExportModel(
            ContextEncoder(droid),
            [image],
            [
                _channels_last("net", "pictures", config.hidden),
                _channels_last("gates", "pictures", 2 * config.hidden),
                _channels_last("candidate", "pictures", config.hidden),
            ],
            pictures,
            _CALLS["cnet"],
            LayerCalls(ContextLayers(droid), pictures),
        ),
        "update": ExportModel(
            UpdateStep(droid),
            [
                net,
                _channels_last("gates", "edges", 2 * config.hidden),
                _channels_last("candidate", "edges", config.hidden),
                _channels_last("corr", "edges", CHANNELS),
                _maps("motion", "edges", MOTION_CHANNELS),
            ],
            [
                _channels_last("next_net", "edges", config.hidden),
                _maps("delta", "edges", 2),
                _maps("weight", "edges", 2),
            ],
            [step for step, _ in steps],
            _CALLS["update"],
            LayerCalls(UpdateLayers(droid), [layer_inputs]),
        ),
        "damping": ExportModel(
            Damping(droid),
            [net, TensorSpec(name="means", shape=("sources", "edges"), dtype="float32")],
            [TensorSpec(name="eta", shape=("sources", *_MAPS), dtype="float32")],
            [{"net": step["net"], "means": means} for step, means in steps],
            _CALLS["damping"],
        ),
    }


def _maps(name: str, count: str, channels: int) -> TensorSpec:
    return TensorSpec(name=name, shape=(count, channels, *_MAPS), dtype="float32", layout="NCHW")


def _channels_last(name: str, count: str, channels: int) -> TensorSpec:
    return TensorSpec(name=name, shape=(count, *_MAPS, channels), dtype="float32", layout="NHWC")


def _picture() -> Tensor:
    """(1, 3, H, W) uint8, even patches."""
    width, height = PICTURE
    generator = torch.Generator().manual_seed(0)
    patches = torch.randint(256, (1, 3, height // 16, width // 16), generator=generator)
    return patches.repeat_interleave(16, 2).repeat_interleave(16, 3).byte()


def _step(config: DroidConfig, edges: int, sources: int) -> tuple[dict[str, Tensor], Tensor]:
    """Return inputs of `update` for so many edges, and `means` for so many sources of them."""
    width, height = (side // STRIDE for side in PICTURE)
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn((edges, *shape), generator=generator)

    inputs = {
        "net": noise(height, width, config.hidden).tanh(),
        "gates": noise(height, width, 2 * config.hidden),
        "candidate": noise(height, width, config.hidden),
        "corr": noise(height, width, CHANNELS),
        "motion": noise(MOTION_CHANNELS, height, width),
    }
    return inputs, source_means(torch.arange(edges) % sources)


def _layer_inputs(step: Mapping[str, Tensor], config: DroidConfig) -> dict[str, Tensor]:
    """Return inputs of the operator's layers, which have the context in the gates' place."""
    motion = step["motion"]
    net, inp, corr = (
        motion.new_zeros((len(motion), channels, *motion.shape[2:]))
        for channels in (config.hidden, config.context, CHANNELS)
    )
    return {"net": net, "inp": inp, "corr": corr, "motion": motion}
