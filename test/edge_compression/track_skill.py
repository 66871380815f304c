"""SLAM in miniature: three networks, a recurrent state, a changing number of edges, an error.

A camera that sees a strip of 8 x 32 pixels slides along a noisy wall; the skill is to tell how far.
"""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from edge_compression.protocol import BundleSettings, ExportModel, Metric
from edge_runtime.bundle import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from edge_compression.protocol import Arrays, Batch, Run, Split

HEIGHT, WIDTH, REACH, STATE, ITERATIONS = 8, 32, 3, 8, 2
SHIFTS = range(-REACH, REACH + 1)


class TrackData(BaseModel):
    model_config = ConfigDict(extra="forbid")

    noise: float = 0.1
    walks: int = 12


class Encoder(nn.Module):
    """Strips to features, or to state and context."""

    def __init__(self, width: int, *, pooled: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.last = nn.Conv2d(width, 2 * STATE if pooled else STATE, 3, padding=1)
        self.pooled = pooled

    def forward(self, strip: torch.Tensor) -> Any:  # noqa: ANN401 - one tensor or two
        found = self.last(torch.relu(self.first(strip)))
        return found.mean((2, 3)).tanh().split(STATE, 1) if self.pooled else found


class Update(nn.Module):
    """One step of the recurrent part, for any number of edges."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(2 * STATE + len(SHIFTS), width)
        self.state = nn.Linear(width, STATE)
        self.delta = nn.Linear(width, 1)

    def forward(
        self, net: torch.Tensor, inp: torch.Tensor, corr: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.relu(self.inner(torch.cat([net, inp, corr], 1)))
        return self.state(hidden).tanh(), self.delta(hidden)


class TrackNet(nn.Module):
    def __init__(self, fnet: int = 16, cnet: int = 8, update: int = 24) -> None:
        super().__init__()
        self.fnet = Encoder(fnet, pooled=False)
        self.cnet = Encoder(cnet, pooled=True)
        self.update = Update(update)

    def deltas(self, first: torch.Tensor, second: torch.Tensor) -> list[torch.Tensor]:
        features = self.fnet(first), self.fnet(second)
        corr = torch.stack([_alike(*features, shift) for shift in SHIFTS], 1)
        net, inp = self.cnet(first)
        found = []
        for _ in range(ITERATIONS):
            net, delta = self.update(net, inp, corr)
            found.append(delta[:, 0])
        return found


class TrackSkill:
    name = "track"
    metrics: ClassVar[dict[str, Metric]] = {
        "ate": Metric("mean error of the position at a walk's end", unit="px", better="lower"),
        "close": Metric("share of the steps that are right to half a pixel"),
    }
    primary_metric = "ate"
    data_model = TrackData

    def uncompressed(self, data: TrackData) -> TrackData:
        return data

    def subset(self, data: TrackData, samples: int) -> TrackData:
        del samples
        return data

    def build_network(self, config: Mapping[str, Any]) -> nn.Module:
        return TrackNet(**config)

    def network_config(self, network: nn.Module) -> dict[str, Any]:
        weights = network.state_dict()
        return {
            "fnet": len(weights["fnet.first.bias"]),
            "cnet": len(weights["cnet.first.bias"]),
            "update": len(weights["update.inner.bias"]),
        }

    def models(self, network: nn.Module, data: TrackData) -> dict[str, ExportModel]:
        strips = torch.from_numpy(_walk(0, 12, data)[0])
        parts = {name: network.get_submodule(name) for name in ("fnet", "cnet", "update")}
        strip = TensorSpec(name="strip", shape=(1, 1, HEIGHT, WIDTH), dtype="float32")
        features = TensorSpec(name="features", shape=(1, STATE, HEIGHT, WIDTH), dtype="float32")
        state = [
            TensorSpec(name=name, shape=(1, STATE), dtype="float32") for name in ("net", "inp")
        ]
        edges = [
            TensorSpec(name=name, shape=("edges", size), dtype="float32")
            for name, size in (("net", STATE), ("inp", STATE), ("corr", len(SHIFTS)))
        ]
        found = [
            TensorSpec(name=name, shape=("edges", size), dtype="float32")
            for name, size in (("next_net", STATE), ("delta", 1))
        ]
        noise = torch.Generator().manual_seed(0)
        examples = [
            {
                spec.name: torch.rand((size, int(spec.shape[1])), generator=noise) - 0.5
                for spec in edges
            }
            for size in (4, 11)
        ]
        one = [{"strip": strips[:1]}]
        return {
            "fnet": ExportModel(parts["fnet"], [strip], [features], one),
            "cnet": ExportModel(parts["cnet"], [strip], state, one, calls=0.5),
            "update": ExportModel(parts["update"], edges, found, examples, calls=ITERATIONS),
        }

    def bundle_settings(self, data: TrackData) -> BundleSettings:
        return BundleSettings(settings={"noise": data.noise})

    def unprunable(self, network: nn.Module) -> list[nn.Module]:
        names = ("fnet.last", "cnet.last", "update.state", "update.delta")
        return [network.get_submodule(name) for name in names]

    def calibration(
        self, runs: Mapping[str, Run], data: TrackData, count: int, seed: int
    ) -> Iterator[dict[str, Arrays]]:
        for number in range(count):
            strips, _ = _walk(900_000 + 1000 * seed + number, 2 + number % 5, data)
            inputs: list[dict[str, Arrays]] = []
            _track(runs, strips, inputs)
            yield from inputs

    def batches(
        self, data: TrackData, batch_size: int, seed: int, start_step: int
    ) -> Iterator[Batch]:
        for step in count(start_step):
            strips, steps = _walk(seed * 1_000_000 + step, batch_size + 1, data)
            first, second = (torch.from_numpy(part) for part in (strips[:-1], strips[1:]))
            yield {"first": first, "second": second, "steps": torch.from_numpy(steps)}

    def data_digest(self, data: TrackData) -> str:
        return data.model_dump_json()

    def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        found = network.get_submodule("").deltas(batch["first"], batch["second"])  # type: ignore[operator]
        return sum((delta.float() - batch["steps"]).abs().mean() for delta in found)  # type: ignore[return-value]

    def teacher_outputs(self, teacher: nn.Module, batch: Batch) -> torch.Tensor:
        deltas: list[torch.Tensor] = teacher.get_submodule("").deltas(  # type: ignore[operator]
            batch["first"], batch["second"]
        )
        return deltas[-1]

    def blend_targets(self, batch: Batch, outputs: torch.Tensor, share: float) -> Batch:
        return {**batch, "steps": batch["steps"].lerp(outputs.float(), share)}

    def evaluate(self, runs: Mapping[str, Run], data: TrackData, split: Split) -> dict[str, float]:
        if "TRACK_LOG" in os.environ:  # by which a test counts
            with open(os.environ["TRACK_LOG"], "a") as log:  # noqa: PTH123 - a line
                log.write(f"{split}\n")
        start = {"validation": 500_000, "held_out": 600_000}[split]
        errors = []
        for number in range(data.walks):
            strips, steps = _walk(start + number, 3 + number, data)
            errors.append(_track(runs, strips) - steps)
        return {
            "ate": float(np.mean([abs(error.sum()) for error in errors])),
            "close": float((np.abs(np.concatenate(errors)) < 0.5).mean()),
        }


class ScaledUpdate(Update):
    """Its product of matrices has a factor, which TensorRT's importer would refuse in FP16."""

    def forward(
        self, net: torch.Tensor, inp: torch.Tensor, corr: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        state, delta = super().forward(net, inp, corr)
        return state, torch.addmm(delta, net, self.state.weight[:, :1], alpha=0.5)


class ScaledTrackSkill(TrackSkill):
    name = "scaled_track"

    def build_network(self, config: Mapping[str, Any]) -> nn.Module:
        network = TrackNet(**config)
        network.update = ScaledUpdate(network.update.inner.out_features)
        return network


def _track(
    runs: Mapping[str, Run],
    strips: NDArray[np.float32],
    inputs: list[dict[str, Arrays]] | None = None,
) -> NDArray[np.float32]:
    """Return the steps of a walk, whose edges join each strip with the next one."""
    noted: list[dict[str, Arrays]] = [] if inputs is None else inputs
    features, states = [], []
    for strip in strips[:, None]:
        noted.append({"fnet": {"strip": strip}, "cnet": {"strip": strip}})
        features.append(torch.from_numpy(runs["fnet"]({"strip": strip})["features"]))
        states.append(runs["cnet"]({"strip": strip}))
    first, second = torch.cat(features[:-1]), torch.cat(features[1:])
    corr = torch.stack([_alike(first, second, shift) for shift in SHIFTS], 1).numpy()
    net, inp = (np.concatenate([state[name] for state in states[:-1]]) for name in ("net", "inp"))
    for _ in range(ITERATIONS):
        edges = {"net": net, "inp": inp, "corr": corr}
        noted.append({"update": edges})
        found = runs["update"](edges)
        net = found["next_net"]
    return np.asarray(found["delta"][:, 0])


def _alike(first: torch.Tensor, second: torch.Tensor, shift: int) -> torch.Tensor:
    """Mean product of the features of two strips, (n,), where the second is shifted."""
    here = first[..., REACH : WIDTH - REACH]
    there = second[..., REACH + shift : WIDTH - REACH + shift]
    return (here * there).mean((1, 2, 3))


def _walk(
    seed: int, strips: int, data: TrackData
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return strips (n, 1, 8, 32) of a walk along a wall, and its n - 1 steps in pixels."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-2, 3, strips - 1)
    places = np.concatenate([[0], np.cumsum(steps)])
    places -= places.min()
    wall = rng.standard_normal((HEIGHT, places.max() + WIDTH))
    seen = np.stack([wall[:, place : place + WIDTH] for place in places])[:, None]
    seen = seen + data.noise * rng.standard_normal(seen.shape)
    # What the camera has gone to the right, the wall has gone to the left.
    return seen.astype(np.float32), -steps.astype(np.float32)
