"""What eight bits do to each tensor of a graph on its own: the table that errors are looked for in.

ONNX Runtime's `qdq_loss_debug` measures the same, but keeps the activations of all images in
memory, and loses sight of tensors between which and their Q/DQ pair stands a cast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization.quant_utils import QUANT_INPUT_SUFFIX, TENSOR_NAME_QUANT_SUFFIX

from edge_compression.quantisation import quantise
from edge_compression.results import TensorError
from edge_runtime.onnx_engine import OnnxEngine

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from edge_compression.calibration import Calibration
    from edge_compression.protocol import Arrays
    from edge_compression.quantisation import Flavour

_MOST = 200.0  # dB; what is said of a tensor that comes through unchanged


@dataclass
class _Pair:
    """The grid of one tensor: `(x / scale + zero).round()` within the limits of `zero`'s type."""

    scale: NDArray[Any]
    zero: NDArray[Any]

    def through(self, values: NDArray[Any]) -> NDArray[Any]:
        limits = np.iinfo(self.zero.dtype)
        zero = self.zero.astype(np.float32)
        levels = np.clip(np.rint(values / self.scale) + zero, limits.min, limits.max)
        return np.asarray((levels - zero) * self.scale)

    def range(self) -> tuple[float, float]:
        limits = np.iinfo(self.zero.dtype)
        zero = self.zero.astype(np.float32)
        return (
            float(((limits.min - zero) * self.scale).min()),
            float(((limits.max - zero) * self.scale).max()),
        )


def tensor_errors(
    calibration: Calibration, flavour: Flavour, images: Sequence[Arrays]
) -> list[TensorError]:
    """Measure all activations and weights that the flavour would quantise, in the graph's order.

    An error is the tensor's own: its float values, as an unquantised network computes them,
    against the same values through its own Q/DQ pair. Errors that earlier tensors made do not
    count, so that the worst row is the one to keep in float. Exact tensors are given 200 dB.

    Raises:
        EngineError: ONNX Runtime cannot compute them.
    """
    model = onnx.load_from_string(calibration.graph)
    grids = _pairs(onnx.load_from_string(quantise(calibration, flavour)), _tensors(model))
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    # Sums of squares: of the values, of the differences.
    powers = {
        name: _powers(constants[name], pair) for name, pair in grids.items() if name in constants
    }
    observed = [name for name in grids if name not in constants]
    for values in _activations(model, observed, images):
        for name, array in values.items():
            signal, noise = _powers(array, grids[name])
            before = powers.get(name, (0.0, 0.0))
            powers[name] = (before[0] + signal, before[1] + noise)
    rows = []
    first_read = [name for node in model.graph.node for name in (*node.input, *node.output)]
    for name in sorted(grids, key=first_read.index):
        low, high = grids[name].range()
        ratio = _decibels(*powers[name])
        rows.append(TensorError(tensor=name, low=low, high=high, sqnr_db=ratio, kept_float=False))
    return rows


def quantised_tensors(graph: bytes, calibration: Calibration) -> set[str]:
    """Name the tensors that are kept in eight bits in the graph, as the float graph calls them."""
    before, after = onnx.load_from_string(calibration.graph), onnx.load_from_string(graph)
    computed = {name for node in after.graph.node for name in node.output}
    in_bytes = {item.name for item in before.graph.initializer if item.name in computed}
    return set(_pairs(after, _tensors(before))) | in_bytes


def marked(
    errors: Sequence[TensorError], graph: bytes, calibration: Calibration
) -> list[TensorError]:
    """Say of each tensor whether it was kept in float in the graph.

    Of one that was, the error remains what quantising it would cost.
    """
    paired = quantised_tensors(graph, calibration)
    return [row.model_copy(update={"kept_float": row.tensor not in paired}) for row in errors]


def _tensors(model: onnx.ModelProto) -> set[str]:
    """Name everything that is computed or given in a graph."""
    return {
        *(name for node in model.graph.node for name in node.output),
        *(item.name for item in (*model.graph.input, *model.graph.initializer)),
    }


def _pairs(model: onnx.ModelProto, known: Collection[str]) -> dict[str, _Pair]:
    """Find the pairs of all tensors but biases, by the tensor's name among the `known`."""
    writers = {name: node for node in model.graph.node for name in node.output}
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    pairs: dict[str, _Pair] = {}
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        scale, zero = constants[node.input[1]], constants[node.input[2]]
        if zero.dtype == np.int32:
            continue  # a bias, on a grid so fine that it has no error to speak of
        name = _origin(node.input[0], writers, known)
        axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
        if scale.ndim:
            rank = constants[node.input[0] if node.input[0] in constants else name].ndim
            shape = [1] * rank
            shape[axis] = -1
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        name = name.removesuffix(TENSOR_NAME_QUANT_SUFFIX).removesuffix(QUANT_INPUT_SUFFIX)
        pairs[name] = _Pair(scale.astype(np.float32), zero)
    return pairs


def _origin(name: str, writers: dict[str, onnx.NodeProto], known: Collection[str]) -> str:
    """Go back over what quantising has put in, casts to and from FP16 among it."""
    while name not in known and name in writers:
        name = writers[name].input[0]
    return name


def _activations(
    model: onnx.ModelProto, names: Sequence[str], images: Sequence[Arrays]
) -> Iterator[Arrays]:
    """Run the float graph; yield the named tensors, one image at a time."""
    inputs = {item.name for item in model.graph.input}
    present = {item.name for item in model.graph.output}
    inner = [name for name in names if name not in inputs]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in inner
        if name not in present
    )
    engine = OnnxEngine.from_file(model.SerializeToString())
    for image in images:
        found = {**image, **engine.run(image)}
        yield {name: found[name] for name in names}


def _powers(values: NDArray[Any], pair: _Pair) -> tuple[float, float]:
    difference = values - pair.through(values)
    return _power(values), _power(difference)


def _power(values: NDArray[Any]) -> float:
    flat = values.astype(np.float32, copy=False).ravel()
    return float(np.square(flat).sum(dtype=np.float64))


def _decibels(signal: float, noise: float) -> float:
    if noise <= signal * 10 ** (-_MOST / 10):
        return _MOST
    return round(10 * math.log10(max(signal, 1e-300) / noise), 2)
