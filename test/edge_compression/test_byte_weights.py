"""Convolutions in float whose weights take a byte each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

from edge_compression.calibration import Calibration, calibrate
from edge_compression.export import export
from edge_compression.protocol import ExportModel
from edge_compression.quantisation import quantise
from edge_compression.tensor_errors import quantised_tensors
from edge_runtime.bundle import TensorSpec
from edge_runtime.onnx_engine import OnnxEngine

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIDDLE, LAST = "/0/Conv_output_0", "2.weight"


@pytest.fixture(scope="module")
def image() -> NDArray[Any]:
    return np.random.default_rng(1).random((1, 16, 24, 32), dtype=np.float32)


@pytest.fixture(scope="module")
def calibration(image: NDArray[Any]) -> Calibration:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(16, 32, 3), nn.Tanh(), nn.Conv2d(32, 32, 3), nn.Sigmoid())
    with torch.no_grad():
        network[0].weight[3] = 0
        network[0].weight[4] *= 100
    size = ("batch", "height", "width")
    given, found = (
        TensorSpec(name=name, shape=(size[0], channels, *size[1:]), dtype="float32")
        for name, channels in (("image", 16), ("maps", 32))
    )
    model = ExportModel(network.eval(), [given], [found], [{"image": torch.from_numpy(image)}])
    return calibrate(export(model), [{"image": image}], "minmax")


def _weight(graph: bytes, name: str) -> onnx.TensorProto | None:
    constants = onnx.load_from_string(graph).graph.initializer
    return next((item for item in constants if item.name == name), None)


def test_weights_of_what_stays_in_float_take_a_byte(
    calibration: Calibration, image: NDArray[Any]
) -> None:
    graph = quantise(calibration, "cpu", [MIDDLE, "maps"])
    stored = _weight(graph, "0.weight_bytes")
    assert stored is not None
    assert stored.data_type == TensorProto.INT8
    assert _weight(graph, "0.weight") is None
    assert "0.weight" in quantised_tensors(graph, calibration)

    exact = OnnxEngine.from_file(calibration.graph).run({"image": image})["maps"]
    found = OnnxEngine.from_file(graph, precision="int8").run({"image": image})["maps"]
    assert 0 < np.abs(found - exact).max() < 0.02


def test_each_filter_has_its_own_scale(calibration: Calibration) -> None:
    graph = quantise(calibration, "cpu", [MIDDLE])
    constants = {item.name: item for item in onnx.load_from_string(graph).graph.initializer}
    stored, scale = (
        numpy_helper.to_array(constants[f"0.weight_{part}"]) for part in ("bytes", "scale")
    )
    weight = _weight(calibration.graph, "0.weight")
    assert weight is not None
    assert scale.shape == (32, 1, 1, 1)
    assert not stored[3].any()  # a filter of zeros
    error = np.abs(stored * scale - numpy_helper.to_array(weight))
    assert (error <= 0.501 * scale).all()


def test_a_weight_that_is_to_be_float_is(calibration: Calibration) -> None:
    assert _weight(quantise(calibration, "cpu", [LAST]), LAST) is not None
