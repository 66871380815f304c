"""A convolutional gated unit in eight bits: parts of different size, and sums before gates."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from edge_compression.calibration import calibrate, saturated
from edge_compression.export import export
from edge_compression.gates import gate_sums
from edge_compression.protocol import ExportModel
from edge_compression.quantisation import Flavour, quantise
from edge_compression.tensorrt_rules import violations
from edge_runtime.bundle import TensorSpec
from edge_runtime.errors import SettingError
from edge_runtime.onnx_engine import OnnxEngine

CHANNELS = 16


class Gated(nn.Module):
    """A state between -1 and 1 beside features a hundred times as large that say little."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Conv2d(2 * CHANNELS, CHANNELS, 3, padding=1)
        self.mean = nn.Conv2d(CHANNELS, CHANNELS, 1)
        with torch.no_grad():
            self.gate.weight[:, CHANNELS:] /= 100

    def forward(self, state: Tensor, large: Tensor) -> Tensor:
        seen = torch.cat((state, large), 1)
        return (self.gate(seen) + self.mean(state.mean((2, 3), keepdim=True))).tanh()


def spec(name: str) -> TensorSpec:
    return TensorSpec(name=name, shape=("edges", CHANNELS, 16, 16), dtype="float32")


@pytest.fixture(scope="module")
def graph() -> bytes:
    torch.manual_seed(0)
    network = Gated().eval()
    example = {name: torch.zeros(2, CHANNELS, 16, 16) for name in ("state", "large")}
    inputs = [spec("state"), spec("large")]
    return export(ExportModel(network, inputs, [spec("next")], [example]))


@pytest.fixture(scope="module")
def samples() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    shape = (2, CHANNELS, 16, 16)
    return [
        {
            "state": rng.uniform(-1, 1, shape).astype(np.float32),
            "large": rng.uniform(0, 100, shape).astype(np.float32),
        }
        for _ in range(4)
    ]


@pytest.mark.parametrize("flavour", ["cpu", "arm", "trt"])
def test_a_small_state_survives_beside_large_features(
    graph: bytes, samples: list[dict[str, np.ndarray]], flavour: Flavour
) -> None:
    calibration = calibrate(graph, samples, "minmax")
    floats, split = OnnxEngine.from_file(graph), OnnxEngine.from_file(calibration.graph)
    expected = floats.run(samples[0])["next"]
    np.testing.assert_allclose(split.run(samples[0])["next"], expected, atol=1e-5)
    quantised = quantise(calibration, flavour)
    got = OnnxEngine.from_file(quantised, disable_optimisations=flavour == "trt").run(samples[0])[
        "next"
    ]
    assert np.abs(got - expected).mean() < 0.02 * np.abs(expected).mean()
    if flavour == "trt":
        assert violations(quantised) == []


def test_sums_that_only_gates_read_are_named(
    graph: bytes, samples: list[dict[str, np.ndarray]]
) -> None:
    model = onnx.load_from_string(calibrate(graph, samples, "minmax").graph)
    adds = [node.name for node in model.graph.node if node.op_type == "Add"]
    assert len(adds) == 2  # of the parts, and of the mean
    assert set(gate_sums(model)) == set(adds)
    model.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(node.output[0])
        for node in model.graph.node
        if node.op_type == "Add"
    )
    assert gate_sums(model) == []


def test_convolutions_are_added_on_a_grid_that_ends_where_gates_do(
    graph: bytes, samples: list[dict[str, np.ndarray]]
) -> None:
    calibration = calibrate(graph, [{**samples[0], "large": 100 * samples[0]["large"]}], "minmax")
    model = onnx.load_from_string(quantise(calibration, "cpu"))
    values = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    writers = {name: node.op_type for node in model.graph.node for name in node.output}
    reach = [
        float(values[node.input[1]]) * 255
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and writers.get(node.input[0]) in {"Conv", "Add"}
    ]
    assert reach == pytest.approx([16.0] * 5)  # three convolutions, two sums, from -8 to 8


class Blended(nn.Module):
    """A state that becomes another one by what a convolution makes of it: here of nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        after = state + self.gate(state).tanh()
        return after, self.gate(after)


@pytest.mark.parametrize("flavour", ["cpu", "arm"])
def test_a_state_that_is_blended_in_float_is_not_rounded(
    samples: list[dict[str, np.ndarray]], flavour: Flavour
) -> None:
    example = {"state": torch.zeros(2, CHANNELS, 16, 16)}
    outputs = [spec("after"), spec("seen")]
    model = ExportModel(Blended().eval(), [spec("state")], outputs, [example])
    state = {"state": samples[0]["state"]}
    calibration = calibrate(export(model), [state], "minmax")
    quantised = quantise(calibration, flavour, ["/Tanh_output_0"])
    assert quantised.count(b"DequantizeLinear") > quantise(
        calibration, flavour, ["/Tanh_output_0", "state", "after"]
    ).count(b"DequantizeLinear")
    np.testing.assert_array_equal(
        OnnxEngine.from_file(quantised).run(state)["after"], state["state"]
    )


def test_a_range_can_end_before_what_was_seen(
    graph: bytes, samples: list[dict[str, np.ndarray]]
) -> None:
    calibration = calibrate(graph, samples, "minmax")
    cut = saturated(calibration, {"large": 20.0})
    assert cut.ranges["large"] == (calibration.ranges["large"][0], 20.0)
    assert cut.ranges["state"] == calibration.ranges["state"]
    with pytest.raises(SettingError, match=r"saturate.*'larg'.*large"):
        saturated(calibration, {"larg": 20.0})
