"""Exported graphs: what is in them, and that they compute the same as torch."""

from __future__ import annotations

import onnx
import pytest
import torch
from torch import nn

from edge_compression.export import check_against_torch, export
from edge_compression.protocol import ExportModel
from edge_runtime.bundle import TensorSpec
from edge_runtime.errors import EngineError
from edge_runtime.onnx_engine import OnnxEngine

INPUT = TensorSpec(name="image", shape=("batch", 3, "height", "width"), dtype="float32")
OUTPUT = TensorSpec(name="maps", shape=("batch", 2, "map_height", "map_width"), dtype="float32")


def model(network: nn.Module, width: int = 32) -> ExportModel:
    return ExportModel(network, [INPUT], [OUTPUT], [{"image": torch.rand(1, 3, 32, width)}])


class Pooled(nn.Module):
    """A shallow convolution, then a deep one, each with its Relu and pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.shallow = nn.Conv2d(3, 16, 3, padding=1)
        self.deep = nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Conv2d(16, 2, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.shallow(image)), 2)
        x = nn.functional.max_pool2d(torch.relu(self.deep(x)), 2)
        result: torch.Tensor = self.head(x).sigmoid()
        return result


class FixedSize(Pooled):
    """Its forward has a size that tracing takes for a constant."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        size = [int(side) for side in image.shape[2:]]
        small = super().forward(image)
        return nn.functional.interpolate(small, size=[size[0] // 4 * 4, 32])


class Root(nn.Module):
    """Gives no number where it is given a negative one."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.sqrt()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return Pooled().eval()


@pytest.fixture(scope="module")
def graph(network: nn.Module) -> bytes:
    return export(model(network))


def test_the_graph_is_the_network_at_every_size(network: nn.Module, graph: bytes) -> None:
    assert check_against_torch(graph, model(network, 48)) < 1e-5
    assert OnnxEngine.from_file(graph).inputs[0].shape == ("batch", 3, "height", "width")


def test_the_graph_says_nothing_of_the_machine_that_made_it(graph: bytes) -> None:
    assert __file__.encode() not in graph
    assert not any(node.doc_string for node in onnx.load_from_string(graph).graph.node)


def test_a_size_that_was_frozen_is_refused() -> None:
    network = FixedSize().eval()
    graph = export(model(network))

    # The network itself is asked for another width than the one that is written into it.
    network.forward = Pooled.forward.__get__(network)  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="not dynamic"):
        check_against_torch(graph, model(network))


def test_no_number_is_no_agreement() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), Root()).eval()

    with pytest.raises(EngineError, match="differs from torch by nan"):
        check_against_torch(export(model(network)), model(network))


def test_another_network_is_told_apart(graph: bytes) -> None:
    torch.manual_seed(1)
    with pytest.raises(EngineError, match="differs from torch"):
        check_against_torch(graph, model(Pooled().eval()))
