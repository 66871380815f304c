"""A torch network as an ONNX graph, checked to compute the same."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch

from edge_runtime.errors import EngineError
from edge_runtime.onnx_engine import OnnxEngine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from edge_compression.protocol import Arrays, Interface, Run

OPSET = 17  # the newest that TensorRT 10.3 (JetPack 6) and ONNX Runtime 1.18 read in full
_TOLERANCE = 1e-4  # of the largest value of an output


def export(network: nn.Module, inputs: Mapping[str, Tensor], interface: Interface) -> bytes:
    """Return the ONNX graph of the network, with the interface's names and dynamic dimensions."""
    network.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    outputs = [spec.name for spec in interface.outputs]
    dynamic = {
        spec.name: {axis: size for axis, size in enumerate(spec.shape) if isinstance(size, str)}
        for spec in (*interface.inputs, *interface.outputs)
    }
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "network.onnx"
        # The exporter by tracing: resizing keeps its constant scales and sizes stay dynamic
        # without constraints between them, which TensorRT and the quantiser both need.
        torch.onnx.export(
            network,
            tuple(inputs.values()),
            path,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=dynamic,
            opset_version=OPSET,
            dynamo=False,
        )
        graph = onnx.load(path)
    content: bytes = _tidy(graph).SerializeToString()
    return content


def check_against_torch(
    graph: bytes, network: nn.Module, inputs: Mapping[str, Tensor], interface: Interface
) -> float:
    """Run both on the inputs and on inputs twice as large in every dynamic dimension.

    Returns:
        The largest difference, as a share of the output's largest value.

    Raises:
        EngineError: it is more than 1e-4, or no number.
    """
    engine = OnnxEngine.from_file(graph, precision="fp32")
    differences = []
    for sample in (inputs, _doubled(inputs, interface)):
        ours = engine.run({name: tensor.numpy() for name, tensor in sample.items()})
        theirs = torch_run(network, interface)(
            {name: tensor.numpy() for name, tensor in sample.items()}
        )
        for name, expected in theirs.items():
            if ours[name].shape != expected.shape:
                message = (
                    f"the exported graph gives '{name}' the shape {ours[name].shape}, torch "
                    f"{expected.shape}: a size in the network's forward is not dynamic"
                )
                raise EngineError(message)
            scale = max(float(np.abs(expected).max()), 1e-6)
            differences.append(float(np.abs(ours[name] - expected).max()) / scale)
    worst = float(np.max(differences))  # NaN if one is
    if not worst <= _TOLERANCE:
        message = (
            f"the exported graph differs from torch by {worst:.2g} of the output, allowed is "
            f"{_TOLERANCE:g}: the network's forward has a step that tracing cannot follow"
        )
        raise EngineError(message)
    return worst


def torch_run(network: nn.Module, interface: Interface) -> Run:
    """Wrap the network so that it takes and gives arrays by name, as an engine does."""
    names = [spec.name for spec in interface.outputs]

    def run(inputs: Arrays) -> Arrays:
        with torch.no_grad():
            result = network(*(torch.from_numpy(inputs[spec.name]) for spec in interface.inputs))
        tensors = result if isinstance(result, tuple) else (result,)
        return {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}

    return run


def _doubled(inputs: Mapping[str, Tensor], interface: Interface) -> dict[str, Tensor]:
    return {
        spec.name: inputs[spec.name].repeat(
            *(2 if isinstance(size, str) else 1 for size in spec.shape)
        )
        for spec in interface.inputs
    }


def _tidy(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Take out what the exporter noted about this machine, and what no run time reads."""
    for node in graph.graph.node:
        node.ClearField("doc_string")
    graph.ClearField("doc_string")
    graph.graph.name = "network"
    onnx.checker.check_model(graph, full_check=True)
    return graph
