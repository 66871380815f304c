"""Training with simulated quantisation: it helps, and leaves no trace in the network."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from edge_compression.aware import input_peaks, simulate
from edge_compression.calibration import calibrate
from edge_compression.checkpoint import load_checkpoint
from edge_compression.export import export
from edge_compression.job import compressible_skill
from edge_compression.protocol import ExportModel
from edge_compression.quantisation import Flavour, quantise
from edge_compression.recipe import TrainSettings
from edge_compression.training import train
from edge_runtime.bundle import TensorSpec
from edge_runtime.errors import SettingError
from edge_runtime.onnx_engine import OnnxEngine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import BaseModel

    from edge_compression.protocol import Batch, CompressibleSkill

INPUT, OUTPUT = (
    TensorSpec(name=name, shape=("batch", 8, "height", "width"), dtype="float32") for name in "xy"
)


def _model(network: nn.Module) -> ExportModel:
    return ExportModel(network, [INPUT], [OUTPUT], [{"x": _batches(1)[0][:1]}])


def _peaks(network: nn.Module) -> dict[str, float]:
    inputs = [{"x": batch.numpy()} for batch in _batches(4)]
    return input_peaks(network, {"small": _model(network)}, {"small": inputs})


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(8, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 8, 3, padding=1)
        self.last = nn.ConvTranspose2d(8, 8, 3, padding=1)

    def inside(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.second(torch.relu(self.first(x)))
        return result

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.last(torch.relu(self.inside(x)))
        return result


@pytest.fixture
def original() -> Small:
    torch.manual_seed(0)
    return Small().eval()


def _batches(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(8, 8, 12, 12, generator=generator) for _ in range(count)]


def _error_in_int8(network: nn.Module, original: nn.Module, flavour: Flavour) -> float:
    """Mean square error of the network, quantised, against the original's outputs."""
    graph = export(_model(network))
    calibration = calibrate(graph, [{"x": x[:1].numpy()} for x in _batches(4)], "minmax")
    engine = OnnxEngine.from_file(quantise(calibration, flavour))
    x = torch.rand(8, 8, 12, 12, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = original(x).numpy()
    return float(np.square(engine.run({"x": x.numpy()})["y"] - expected).mean())


def _with_outliers(original: Small) -> Small:
    """Compute the same with one pair of huge weights, which cancel, in every filter."""
    network = copy.deepcopy(original)
    with torch.no_grad():
        for tensor in (network.first.weight, network.first.bias):
            tensor[1] = tensor[0]
        network.second.weight[:, 0] += 5
        network.second.weight[:, 1] -= 5
        original.load_state_dict(network.state_dict())
    return network


def test_training_for_eight_bits_beats_rounding_to_them() -> None:
    flavours: tuple[Flavour, ...] = ("cpu", "trt")
    rounded, tuned = np.zeros(len(flavours)), np.zeros(len(flavours))
    for seed in range(3):  # one network alone may be lucky, on one processor and not on another
        torch.manual_seed(seed)
        original = Small().eval()
        network = _with_outliers(original)
        rounded += [_error_in_int8(network, original, flavour) for flavour in flavours]
        keys = list(network.state_dict())
        _train_for_eight_bits(network, original)
        assert list(network.state_dict()) == keys
        tuned += [_error_in_int8(network, original, flavour) for flavour in flavours]
    assert (tuned < rounded / 1.4).all()


def _train_for_eight_bits(network: Small, original: Small) -> None:
    steps = 300
    # Only the layer with the outliers, by little steps: they cancel, so larger ones do harm first.
    optimiser = torch.optim.Adam(network.second.parameters())
    peaks = _peaks(network)
    assert set(peaks) == {"first.weight", "second.weight", "last.weight"}
    with simulate(network, peaks):
        for step, x in enumerate(_batches(steps)):
            optimiser.param_groups[0]["lr"] = 3e-5 * (1 - step / steps)
            optimiser.zero_grad()
            nn.functional.mse_loss(network(x), original(x)).backward()
            optimiser.step()


@pytest.mark.parametrize("autocast", [False, True])
def test_the_simulation_is_what_the_quantised_graph_computes(
    original: Small, *, autocast: bool
) -> None:
    peaks = _peaks(original)
    x = _batches(1)[0]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        plain, inside = original(x), original.inside(x)
        with simulate(original, peaks):
            simulated, simulated_inside = original(x), original.inside(x)
        assert torch.equal(original(x), plain)
        assert not torch.equal(inside, simulated_inside)  # methods other than forward count, too

    graph = export(_model(original))
    images = [{"x": batch.numpy()} for batch in _batches(4)]
    quantised = quantise(calibrate(graph, images, "minmax"), "trt")
    found = OnnxEngine.from_file(quantised).run({"x": x.numpy()})["y"]
    apart = np.abs(found - simulated.float().numpy()).mean()
    assert apart < np.abs(found - plain.float().numpy()).mean()


def test_a_network_without_such_layers_is_refused() -> None:
    with pytest.raises(SettingError, match="no convolution or linear layer"):
        _peaks(nn.ReLU())


class _CutOff:
    """A skill whose training is cut off after some steps."""

    def __init__(self, skill: CompressibleSkill, steps: int) -> None:
        self._skill = skill
        self._steps = steps

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the skill has
        return getattr(self._skill, name)

    def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        if self._steps == 0:
            raise KeyboardInterrupt
        self._steps -= 1
        return self._skill.loss(network, batch)


def test_a_training_cut_off_goes_on_in_the_simulation(tmp_path: Path) -> None:
    skill = compressible_skill("blob")
    data = skill.data_model()
    settings = TrainSettings(steps=30, batch_size=4, learning_rate=0.01, seed=5, precision="bf16")
    torch.manual_seed(0)
    start = skill.build_network({})
    scenes = [item["blob"] for item in skill.calibration({}, data, 4, 0)]

    def tune(skill: CompressibleSkill, data: BaseModel, state: Path) -> Mapping[str, torch.Tensor]:
        network = copy.deepcopy(start)
        peaks = input_peaks(network, skill.models(network, data), {"blob": scenes})
        with simulate(network, peaks):
            train(skill, network, data, settings, state, save_every=0.0)
        return network.state_dict()

    whole = tune(skill, data, tmp_path / "whole.pt")
    with pytest.raises(KeyboardInterrupt):
        tune(_CutOff(skill, 12), data, tmp_path / "cut.pt")  # type: ignore[arg-type]
    # The state is a checkpoint of the plain network.
    load_checkpoint(tmp_path / "cut.pt", skill)
    resumed = tune(skill, data, tmp_path / "cut.pt")
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)

    float_only = copy.deepcopy(start)
    train(skill, float_only, data, settings, tmp_path / "float.pt")
    assert any(not torch.equal(float_only.state_dict()[key], whole[key]) for key in whole)
