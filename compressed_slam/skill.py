"""What training needs to know of the SLAM skill; it has no node to replay into yet."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from compressed_slam.training.accuracy import DESCRIPTIONS, HEADLINE, FlowErrors
from compressed_slam.training.data import (
    PICTURE,
    SlamData,
    judged_pairs,
    plain_batches,
    training_batches,
)
from compressed_slam.widths import DroidConfig
from edge_compression.protocol import BundleSettings, ExportModel, Metric
from edge_runtime.bundle import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

    from compressed_slam.training.pair_network import PairNetwork
    from edge_compression.protocol import Arrays, Batch, Run, Split

_ITERATIONS = 6
_INPUTS = ("image1", "image2")
_EXAMPLE_MOTION = 12  # pixels


class SlamSkill:
    """DROID-SLAM's networks for `compress`: the flow of pairs, their first stage of training."""

    name = "slam"
    primary_metric = HEADLINE
    metrics: ClassVar[dict[str, Metric]] = {
        name: Metric(
            description,
            unit="px" if name.endswith("error") else "",
            better="lower" if name.endswith(("error", "hidden_weight")) else "higher",
        )
        for name, description in DESCRIPTIONS.items()
    }
    metric_descriptions: ClassVar[dict[str, str]] = DESCRIPTIONS
    data_model = SlamData

    def uncompressed(self, data: SlamData) -> SlamData:
        """The recipe lessens nothing beside the network."""
        return data

    def subset(self, data: SlamData, samples: int) -> SlamData:
        """Fewer rooms, if they are more than the samples."""
        return data.model_copy(update={"rooms": min(samples, data.rooms)})

    def build_network(self, config: Mapping[str, Any]) -> nn.Module:
        """`config`: {"widths": those of a `DroidConfig`, "iterations": steps of a pair}.

        What is left out is as published, and 6 steps.
        """
        from compressed_slam.training.pair_network import PairNetwork

        return PairNetwork(**_network_arguments(**config))

    def network_config(self, network: nn.Module) -> dict[str, Any]:
        """Read the widths off the layers, which pruning may have narrowed."""
        pairs = _pairs(network)
        widths = pairs.droid.config().model_dump(mode="json")
        return {"widths": widths, "iterations": pairs.iterations}

    def models(self, network: nn.Module, data: SlamData) -> dict[str, ExportModel]:
        """One, for a pair of pictures of 320x240; its example is a pattern that has moved."""
        import torch

        del data
        width, height = PICTURE
        generator = torch.Generator().manual_seed(0)
        cells = torch.rand((1, 3, height // 8, width // 8 + 2), generator=generator)
        pattern = torch.nn.functional.interpolate(255 * cells, scale_factor=8, mode="bilinear")
        pictures = (pattern[..., :width], pattern[..., _EXAMPLE_MOTION:][..., :width])
        example = {
            name: picture.byte().contiguous()
            for name, picture in zip(_INPUTS, pictures, strict=True)
        }
        images = [
            TensorSpec(
                name=name,
                shape=(1, 3, height, width),
                dtype="uint8",
                layout="NCHW",
                colour_order="BGR",
            )
            for name in _INPUTS
        ]
        shape = (1, 2, height // 8, width // 8)
        maps = [
            TensorSpec(name=name, shape=shape, dtype="float32", layout="NCHW")
            for name in ("flow", "weight")
        ]
        return {self.name: ExportModel(network, images, maps, [example])}

    def bundle_settings(self, data: SlamData) -> BundleSettings:
        """None, because no node serves pairs."""
        del data
        return BundleSettings()

    def unprunable(self, network: nn.Module) -> list[nn.Module]:
        """Layers whose outputs others rely on by number: features, state, context and the heads."""
        droid = _pairs(network).droid
        update = droid.update
        last = (update.delta[2], update.weight[2], update.agg.eta[0], update.agg.upmask[0])
        return [droid.fnet.conv2, droid.cnet.conv2, update.gru, *last]

    def calibration(
        self, runs: Mapping[str, Run], data: SlamData, count: int, seed: int
    ) -> Iterator[dict[str, Arrays]]:
        """Whole pairs of the training pictures."""
        del runs
        for batch in islice(plain_batches(data, 1, seed, 0), count):
            yield {self.name: {name: batch[name].contiguous().numpy() for name in _INPUTS}}

    def batches(
        self, data: SlamData, batch_size: int, seed: int, start_step: int
    ) -> Iterator[Batch]:
        """Crops as cameras would have taken them."""
        return training_batches(data, batch_size, seed, start_step)

    def data_digest(self, data: SlamData) -> str:
        """Hash the files that pairs are made from."""
        return data.digest()

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """See `compressed_slam.training.pair_loss`."""
        from compressed_slam.training.pair_loss import pair_loss

        return pair_loss(_pairs(network), batch)

    def teacher_outputs(self, teacher: nn.Module, batch: Batch) -> Tensor:
        """Its flow, (n, 2, h, w) cells."""
        flow: Tensor = _pairs(teacher)(batch["image1"], batch["image2"])[0]
        return flow

    def blend_targets(self, batch: Batch, outputs: Tensor, share: float) -> Batch:
        """Mix the teacher's flow into the truth."""
        return {**batch, "flow": batch["flow"].lerp(outputs.float(), share)}

    def evaluate(self, runs: Mapping[str, Run], data: SlamData, split: Split) -> dict[str, float]:
        """Measure the flow of whole pairs of pictures that were never trained on."""
        errors = FlowErrors()
        for kind, pair in judged_pairs(data, split):
            pictures = (pair.first, pair.second)
            found = runs[self.name](
                {
                    name: np.ascontiguousarray(bgr.transpose(2, 0, 1)[None])
                    for name, bgr in zip(_INPUTS, pictures, strict=True)
                }
            )
            errors.add(kind, found["flow"][0], found["weight"][0], pair.flow)
        return errors.metrics()


def _network_arguments(
    widths: Mapping[str, Any] | None = None, iterations: int = _ITERATIONS
) -> dict[str, Any]:
    if not isinstance(iterations, int) or iterations < 1:
        message = f"iterations {iterations!r}: give a whole number from 1"
        raise ValueError(message)
    return {"config": DroidConfig.model_validate(widths or {}), "iterations": iterations}


def _pairs(network: nn.Module) -> PairNetwork:
    return cast("PairNetwork", network)
