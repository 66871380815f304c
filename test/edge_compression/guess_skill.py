"""A policy in miniature that learns by trial and error, and its test routine in closed loop.

It sees one number, and is to choose the side (left, right) on which it lies.
"""

from __future__ import annotations

import json
import os
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from edge_compression.protocol import (
    BundleSettings,
    EvaluationResult,
    ExportModel,
    Metric,
    TrainedNetwork,
)
from edge_runtime.bundle import TensorSpec, load_bundle
from edge_runtime.onnx_engine import OnnxEngine

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edge_compression.protocol import Arrays, Run, Split, TrainingTask


class GuessData(BaseModel):
    model_config = ConfigDict(extra="forbid")

    wall: float = 0.0


class GuessTraining(BaseModel):
    model_config = ConfigDict(extra="forbid")

    episodes: int
    seed: int = 0


class GuessNet(nn.Module):
    def __init__(self, hidden: int = 8) -> None:
        super().__init__()
        self.first = nn.Linear(1, hidden)
        self.last = nn.Linear(hidden, 2)

    def forward(self, place: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = self.last(torch.relu(self.first(place)))
        return values


class GuessTest:
    metrics: ClassVar = {"success": Metric("share of right guesses")}

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--walls", type=float, nargs="+", required=True)
        parser.add_argument("--runs", type=int, default=20)

    def trials(self, args: Namespace) -> Mapping[str, Any]:
        return {
            f"wall {wall:g}": partial(_trial, args.bundle, wall, args.runs) for wall in args.walls
        }

    def summarise(
        self, args: Namespace, results: Mapping[str, Mapping[str, Any]]
    ) -> EvaluationResult:
        shares = [result["success"] for result in results.values()]
        rows = [{"trial": name, **result} for name, result in results.items()]
        return EvaluationResult(
            f"right in {100 * np.mean(shares):.0f} % of {args.runs} guesses",
            {"success": float(np.mean(shares))},
            {"By wall": rows},
            [("a guess", np.zeros((8, 8, 3), np.uint8))],
        )


class GuessSkill:
    name = "guess"
    primary_metric = "success"
    metrics: ClassVar = {"success": Metric("share of right guesses")}
    data_model = GuessData
    train_model = GuessTraining
    evaluation = GuessTest()

    def uncompressed(self, data: GuessData) -> GuessData:
        return data

    def build_network(self, config: Mapping[str, Any]) -> nn.Module:
        return GuessNet(**config)

    def network_config(self, network: nn.Module) -> dict[str, Any]:
        return {"hidden": len(network.state_dict()["first.weight"])}

    def models(self, network: nn.Module, data: GuessData) -> dict[str, ExportModel]:
        del data
        place = TensorSpec(name="place", shape=(1, 1), dtype="float32")
        values = TensorSpec(name="values", shape=(1, 2), dtype="float32")
        example = {"place": torch.zeros((1, 1))}
        return {self.name: ExportModel(network, [place], [values], [example])}

    def bundle_settings(self, data: GuessData) -> BundleSettings:
        return BundleSettings(["left", "right"], {"wall": data.wall})

    def calibration(
        self, runs: Mapping[str, Run], data: GuessData, count: int, seed: int
    ) -> Iterator[dict[str, Arrays]]:
        del runs, data
        for place in np.random.default_rng(seed).uniform(-1, 1, count).astype(np.float32):
            yield {self.name: {"place": np.array([[place]])}}

    def unprunable(self, network: nn.Module) -> list[nn.Module]:
        return [network.get_submodule("last")]

    def data_digest(self, data: GuessData) -> str:
        return sha256(data.model_dump_json().encode()).hexdigest()

    def train(self, task: TrainingTask) -> TrainedNetwork:
        state = task.folder / "state.pt"
        network, optimiser = task.network, torch.optim.Adam(task.network.parameters(), lr=0.03)
        curve: list[tuple[int, float]] = []
        if state.exists():
            saved = torch.load(state, weights_only=True)
            network.load_state_dict(saved["network"])
            optimiser.load_state_dict(saved["optimiser"])
            curve = [tuple(point) for point in json.loads(saved["curve"])]
        begun = len(curve)
        for episode in range(begun, task.settings.episodes):
            if episode - begun == int(os.environ.get("GUESS_EPISODES_OF_A_SITTING", "-1")):
                raise InterruptedError
            rng = np.random.default_rng((task.settings.seed, episode))
            places = torch.from_numpy(rng.uniform(-1, 1, (32, 1)).astype(np.float32))
            actions = torch.from_numpy(rng.integers(0, 2, 32))
            reward = (actions == (places[:, 0] > task.data.wall)).float()
            chosen = network(places)[torch.arange(32), actions]
            loss = nn.functional.mse_loss(chosen, reward)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            curve.append((episode + 1, loss.item()))
            saved = {"network": network.state_dict(), "optimiser": optimiser.state_dict()}
            torch.save({**saved, "curve": json.dumps(curve)}, state)
        success = [(step, 1 - value) for step, value in curve]
        return TrainedNetwork(
            network,
            {"loss": curve, "success of trials": success},
            seconds=1.0,
            tables={"Episodes": [{"episodes": len(curve)}]},
        )

    def evaluate(self, runs: Mapping[str, Run], data: GuessData, split: Split) -> dict[str, float]:
        seed = {"validation": 1, "held_out": 2}[split]
        return {"success": _success(runs[self.name], data.wall, 50, seed)}


def _trial(bundle: Path, wall: float, runs: int) -> dict[str, float]:
    # A mark for each run, by which the test counts them.
    with (bundle.parent / "trials.log").open("a") as log:
        log.write(f"{wall}\n")
    engine = OnnxEngine.from_file(load_bundle(bundle, "guess").path / "fp32.onnx")
    return {"success": _success(engine.run, wall, runs, 3)}


def _success(run: Run, wall: float, count: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    right = 0
    for place in rng.uniform(-1, 1, count).astype(np.float32):
        values = run({"place": np.array([[place]])})["values"]
        right += int(values.argmax() == (place > wall))
    return right / count
