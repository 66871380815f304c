"""A model as an ONNX graph, checked to compute the same as torch."""

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

    from torch import Tensor

    from edge_compression.protocol import Arrays, ExportModel, Run

OPSET = 17  # the newest that TensorRT 10.3 (JetPack 6) and ONNX Runtime 1.18 read in full
_TOLERANCE = 1e-4  # of the largest value of an output


def export(model: ExportModel) -> bytes:
    """Return the ONNX graph of the model, with its names and dynamic dimensions."""
    network, inputs = model.network, model.examples[0]
    network.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    outputs = [spec.name for spec in model.outputs]
    dynamic = {
        spec.name: {axis: size for axis, size in enumerate(spec.shape) if isinstance(size, str)}
        for spec in (*model.inputs, *model.outputs)
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


def check_against_torch(graph: bytes, model: ExportModel) -> float:
    """Run both on the model's examples; a single one is also doubled in every dynamic dimension.

    Returns:
        The largest difference, as a share of the output's largest value.

    Raises:
        EngineError: it is more than 1e-4, or no number.
    """
    engine = OnnxEngine.from_file(graph, precision="fp32")
    differences = []
    samples = [*model.examples]
    if len(samples) == 1:
        samples.append(_doubled(model))
    for sample in map(arrays, samples):
        ours = engine.run(sample)
        theirs = torch_run(model)(sample)
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


def torch_run(model: ExportModel) -> Run:
    """Wrap a model so that it takes and gives arrays by name, as an engine does."""
    names = [spec.name for spec in model.outputs]
    device = next((tensor.device for tensor in model.network.parameters()), torch.device("cpu"))

    def run(inputs: Arrays) -> Arrays:
        tensors = (torch.from_numpy(inputs[spec.name]).to(device) for spec in model.inputs)
        with torch.no_grad():
            result = model.network(*tensors)
        outputs = result if isinstance(result, tuple) else (result,)
        return {name: tensor.cpu().numpy() for name, tensor in zip(names, outputs, strict=True)}

    return run


def torch_runs(models: Mapping[str, ExportModel]) -> dict[str, Run]:
    """Wrap every model."""
    return {name: torch_run(model) for name, model in models.items()}


def arrays(inputs: Mapping[str, Tensor]) -> Arrays:
    """Return inputs as an engine takes them."""
    return {name: tensor.numpy() for name, tensor in inputs.items()}


def _doubled(model: ExportModel) -> dict[str, Tensor]:
    (inputs,) = model.examples
    return {
        spec.name: inputs[spec.name].repeat(
            *(2 if isinstance(size, str) else 1 for size in spec.shape)
        )
        for spec in model.inputs
    }


def _tidy(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Take out what the exporter noted about this machine, and what no run time reads."""
    for node in graph.graph.node:
        node.ClearField("doc_string")
    graph.ClearField("doc_string")
    graph.graph.name = "network"
    onnx.checker.check_model(graph, full_check=True)
    return graph
