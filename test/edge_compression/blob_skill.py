"""A real skill in miniature: find the bright blob in a noisy 16x16 image."""

from __future__ import annotations

import math
import os
import time
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from edge_compression.protocol import BundleSettings, ExportModel, Metric, RecipePath
from edge_runtime.bundle import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_compression.protocol import Arrays, Batch, Run, Split

SIDE = 16


class BlobData(BaseModel):
    model_config = ConfigDict(extra="forbid")

    noise: float = 0.3
    side: int = SIDE
    calibration: int = 16
    images: int = 10_000  # which stand for what is costly to render
    brightness: RecipePath | None = None  # a text file; it stands for a folder of pictures

    def brightness_text(self) -> str:
        return self.brightness.read_text() if self.brightness else "1"


class BlobNet(nn.Module):
    """Two halvings of the resolution and back; `first` and `up` are tied by a sum."""

    def __init__(self, first: int = 8, second: int = 12, between: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, first, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(first)
        self.second = nn.Conv2d(first, second, 3, padding=1)
        self.between = nn.Conv2d(second, between, 3, padding=1)
        self.up = nn.Conv2d(between, first, 3, padding=1)
        self.head = nn.Conv2d(first, 1, 1)

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        fine = torch.relu(self.norm(self.first(image)))
        coarse = torch.relu(self.second(nn.functional.max_pool2d(fine, 2)))
        coarse = torch.relu(self.between(coarse))
        coarse = torch.relu(self.up(nn.functional.interpolate(coarse, scale_factor=2.0)))
        logits: torch.Tensor = self.head(fine + coarse)
        return logits

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.logits(image).sigmoid()


class BlobSkill:
    name = "blob"
    primary_metric = "pixels"
    metrics: ClassVar[dict[str, Metric]] = {
        "pixels": Metric("share of the pixels that are right"),
        "overlap": Metric("intersection over union"),
    }
    data_model = BlobData

    def uncompressed(self, data: BlobData) -> BlobData:
        return data.model_copy(update={"side": SIDE})

    def subset(self, data: BlobData, samples: int) -> BlobData:
        return data.model_copy(update={"images": min(samples, data.images)})

    def build_network(self, config: Mapping[str, Any]) -> nn.Module:
        return BlobNet(**config)

    def network_config(self, network: nn.Module) -> dict[str, Any]:
        weights = network.state_dict()
        return {name: len(weights[f"{name}.weight"]) for name in ("first", "second", "between")}

    def models(self, network: nn.Module, data: BlobData) -> dict[str, ExportModel]:
        example = {"image": torch.from_numpy(_scene(0, 1, data)[0])}
        image = TensorSpec(name="image", shape=("batch", 1, "height", "width"), dtype="float32")
        mask = TensorSpec(name="mask", shape=("batch", 1, "height", "width"), dtype="float32")
        return {self.name: ExportModel(network, [image], [mask], [example])}

    def bundle_settings(self, data: BlobData) -> BundleSettings:
        return BundleSettings(["blob"], {"noise": data.noise})

    def unprunable(self, network: nn.Module) -> list[nn.Module]:
        return [network.get_submodule("head")]

    def calibration(
        self, runs: Mapping[str, Run], data: BlobData, count: int, seed: int
    ) -> Iterator[dict[str, Arrays]]:
        del runs
        for number in range(min(count, data.calibration)):
            yield {self.name: {"image": _scene(seed * 100_000 + number, 1, data)[0]}}

    def batches(
        self, data: BlobData, batch_size: int, seed: int, start_step: int
    ) -> Iterator[Batch]:
        for step in count(start_step):
            # Lets a test kill the training before it ends.
            time.sleep(float(os.environ.get("BLOB_SECONDS_PER_STEP", "0")))
            image, mask = _scene(seed * 100_000 + step, batch_size, data)
            yield {"image": torch.from_numpy(image), "mask": torch.from_numpy(mask)}

    def data_digest(self, data: BlobData) -> str:
        return sha256(data.brightness_text().encode()).hexdigest()

    def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        logits = network.get_submodule("").logits(batch["image"])  # type: ignore[operator]
        return nn.functional.binary_cross_entropy_with_logits(logits.float(), batch["mask"])

    def teacher_outputs(self, teacher: nn.Module, batch: Batch) -> torch.Tensor:
        return teacher(batch["image"])

    def blend_targets(self, batch: Batch, outputs: torch.Tensor, share: float) -> Batch:
        return {**batch, "mask": batch["mask"].lerp(outputs.float(), share)}

    def evaluate(self, runs: Mapping[str, Run], data: BlobData, split: Split) -> dict[str, float]:
        image, mask = _scene({"held_out": -1, "validation": -2}[split], 64, data)
        found = runs[self.name]({"image": image})["mask"] > 0.5
        union = np.logical_or(found, mask > 0.5).sum()
        return {
            "pixels": float((found == (mask > 0.5)).mean()),
            "overlap": float(np.logical_and(found, mask > 0.5).sum() / union),
        }


class MislabelledBlobSkill(BlobSkill):
    """Its training images say the opposite of what is right."""

    name = "mislabelled_blob"

    def batches(
        self, data: BlobData, batch_size: int, seed: int, start_step: int
    ) -> Iterator[Batch]:
        for batch in super().batches(data, batch_size, seed, start_step):
            yield {**batch, "mask": 1 - batch["mask"]}


class SpoiledBlobSkill(BlobSkill):
    """Its labels turn into their opposite after some steps, and it may be cut off.

    What it learns from is drawn at random in its loss, as networks with dropout do.
    """

    name = "spoiled_blob"
    good_steps = 50
    interrupted_at = -1

    def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        image = nn.functional.dropout(batch["image"], 0.05)
        return super().loss(network, {**batch, "image": image})

    def batches(
        self, data: BlobData, batch_size: int, seed: int, start_step: int
    ) -> Iterator[Batch]:
        stream = super().batches(data, batch_size, seed, start_step)
        for step, batch in enumerate(stream, start_step + 1):
            if step == self.interrupted_at:
                raise InterruptedError
            yield batch if step <= self.good_steps else {**batch, "mask": 1 - batch["mask"]}


class FrozenBlobSkill(BlobSkill):
    """None of its layers may be pruned."""

    name = "frozen_blob"

    def unprunable(self, network: nn.Module) -> list[nn.Module]:
        return list(network.children())


class MixedBlobNet(BlobNet):
    """Adds a mixture of the maps' means, by a product of matrices with a factor."""

    def __init__(self, **widths: int) -> None:
        super().__init__(**widths)
        channels = self.first.out_channels
        self.mix = nn.Parameter(0.01 * torch.eye(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        fine = torch.relu(self.norm(self.first(image)))
        mixed = torch.addmm(self.shift, fine.mean((2, 3)), self.mix, alpha=0.5)
        logits: torch.Tensor = super().logits(image) + mixed.mean(1)[:, None, None, None]
        return logits


class MixedBlobSkill(BlobSkill):
    """TensorRT's importer would refuse its network in half precision."""

    name = "mixed_blob"

    def build_network(self, config: Mapping[str, Any]) -> nn.Module:
        return MixedBlobNet(**config)


class PreciseBlobSkill(BlobSkill):
    """Its primary metric has no value where nothing is found."""

    name = "precise_blob"
    primary_metric = "precision"
    metrics: ClassVar[dict[str, Metric]] = {
        **BlobSkill.metrics,
        "precision": Metric("share of what is found"),
    }

    def evaluate(self, runs: Mapping[str, Run], data: BlobData, split: Split) -> dict[str, float]:
        image, mask = _scene({"held_out": -1, "validation": -2}[split], 64, data)
        found = runs[self.name]({"image": image})["mask"] > 0.5
        right = float(np.logical_and(found, mask > 0.5).sum())
        return {"precision": right / found.sum() if found.any() else math.nan}


def _scene(
    number: int, size: int, data: BlobData
) -> tuple[np.ndarray[Any, np.dtype[np.float32]], np.ndarray[Any, np.dtype[np.float32]]]:
    rng = np.random.default_rng(number + 2)
    centre = rng.uniform(4, data.side - 4, (2, size, 1, 1, 1)).astype(np.float32)
    rows, columns = np.mgrid[: data.side, : data.side].astype(np.float32)
    mask = ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 9).astype(np.float32)
    image = float(data.brightness_text()) * mask + data.noise * rng.standard_normal(mask.shape)
    return image.astype(np.float32), mask
