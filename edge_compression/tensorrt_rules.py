"""TensorRT's rules for explicit quantisation in a strongly typed network, read off an ONNX graph.

They are those of its ONNX importer (onnx-tensorrt, `QuantDequantLinearHelper`), of the classes
IQuantizeLayer and IDequantizeLayer (NvInfer.h), and of its guide to quantised types. Nodes inside
the branches of If and Loop are not looked at.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, defs, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

# Below 13, Q and DQ have no axis; above 20, TensorRT 10 (JetPack 6) reads no further.
_OLDEST, _NEWEST = 13, 20
_OUR_DOMAINS = {"", "ai.onnx"}
_INTEGER_OPERATORS = {
    "ConvInteger",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
}
_WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_BOUNDED = {"Softmax", "LogSoftmax", "Sigmoid", "Tanh"}
_FLOATS = {
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.DOUBLE: "FP64",
}
_Q, _DQ = "QuantizeLinear", "DequantizeLinear"


@dataclass(frozen=True)
class Violation:
    """A node that TensorRT would refuse or not run as meant."""

    node: str
    rule: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.node}: {self.rule}: {self.remedy}"


def violations(graph: bytes) -> list[Violation]:
    """List every node that breaks a rule, in the graph's order; empty for a graph that is fine."""
    model = _Model(onnx.load_from_string(graph))
    if not _OLDEST <= model.opset <= _NEWEST:
        rule = f"operator set {model.opset}; TensorRT 10 and 11 read {_OLDEST} to {_NEWEST}"
        return [Violation("graph", rule, f"export with one of {_OLDEST} to {_NEWEST}")]
    return [
        Violation(_title(node), rule, remedy)
        for node in model.nodes
        for check in _CHECKS
        for rule, remedy in check(model, node)
    ]


class _Model:
    """A graph with what its nodes do not say themselves: producers, readers, constants, types."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = onnx.shape_inference.infer_shapes(model).graph
        self.opset = next((o.version for o in model.opset_import if o.domain in _OUR_DOMAINS), 0)
        self.nodes = list(graph.node)
        self.outputs = {value.name for value in graph.output}
        self.constants = {item.name: item for item in graph.initializer}
        self.producers: dict[str, onnx.NodeProto] = {}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            self.producers.update(dict.fromkeys(node.output, node))
            for name in node.input:
                self.readers[name].append(node)
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = node.attribute[0].t
        self.types = {name: item.data_type for name, item in self.constants.items()}
        for value in (*graph.value_info, *graph.input, *graph.output):
            self.types[value.name] = value.type.tensor_type.elem_type

    def knows(self, node: onnx.NodeProto) -> bool:
        """Tell whether the node's operator is one of ONNX's own."""
        return node.domain in _OUR_DOMAINS and defs.has(node.op_type, self.opset, "")

    def values(self, name: str) -> NDArray[np.generic] | None:
        constant = self.constants.get(name)
        return None if constant is None else numpy_helper.to_array(constant)

    def made_by(self, name: str, kind: str) -> onnx.NodeProto | None:
        node = self.producers.get(name)
        return node if node is not None and node.op_type == kind else None

    def is_weight(self, name: str) -> bool:
        """Tell whether the tensor is a constant, or one behind Q, DQ, Cast or Transpose."""
        node = self.producers.get(name)
        if name in self.constants:
            return True
        passes = {_Q, _DQ, "Cast", "Transpose"}
        return node is not None and node.op_type in passes and self.is_weight(node.input[0])


def _known_operator(model: _Model, node: onnx.NodeProto) -> Iterator[tuple[str, str]]:
    if not model.knows(node):
        where = f"of the domain {node.domain}" if node.domain else "that ONNX does not have"
        yield f"an operator {where}", "use only ONNX's own; quantise in its QDQ format"
    elif node.op_type in _INTEGER_OPERATORS:
        yield (
            "an operator on integers",
            "quantise in the QDQ format, not as QOperator or dynamically",
        )


def _signed(model: _Model, node: onnx.NodeProto) -> Iterator[tuple[str, str]]:
    if node.op_type not in {_Q, _DQ}:
        return
    kind = model.types.get(node.output[0] if node.op_type == _Q else node.input[0])
    if kind == TensorProto.INT32 and node.op_type == _DQ:
        yield "a quantised bias (S32)", "quantise with QuantizeBias False"
    elif kind != TensorProto.INT8:
        name = TensorProto.DataType.Name(kind or 0)
        # Without a zero point ONNX means unsigned numbers, and TensorRT takes signed ones.
        yield f"quantised to {name}, not to INT8", "quantise to S8, with a zero point of that type"


def _symmetric(model: _Model, node: onnx.NodeProto) -> Iterator[tuple[str, str]]:
    if node.op_type not in {_Q, _DQ} or len(node.input) < 3 or not node.input[2]:  # noqa: PLR2004
        return
    zeros, scales = model.values(node.input[2]), model.values(node.input[1])
    if zeros is None:
        yield "a zero point that is not constant", "make it a constant of zeros"
    elif np.any(zeros):
        source = model.producers.get(node.input[0])
        bounded = source is not None and source.op_type in _BOUNDED
        yield (
            "asymmetric (its zero point is not 0)",
            f"leave {source.op_type} in float"
            if source is not None and bounded
            else "quantise with ActivationSymmetric and WeightSymmetric True",
        )
    elif scales is not None and zeros.size != scales.size:
        yield "scale and zero point differ in size", "give each scale its own zero"


def _scaled(model: _Model, node: onnx.NodeProto) -> Iterator[tuple[str, str]]:
    if node.op_type not in {_Q, _DQ}:
        return
    scales = model.values(node.input[1])
    if scales is None:
        yield "a scale that is not constant", "calibrate statically"
        return
    numbers = scales.astype(np.float64)
    if not np.all(np.isfinite(numbers) & (numbers > 0)):
        yield (
            "a scale that is 0, negative or no finite number",
            "calibrate on images that excite it",
        )
    if scales.ndim > 1:
        yield "a scale for each block", "quantise per tensor, or weights per channel"


def _per_channel(model: _Model, node: onnx.NodeProto) -> Iterator[tuple[str, str]]:
    scales = model.values(node.input[1]) if node.op_type in {_Q, _DQ} else None
    if scales is None or scales.size == 1 or scales.ndim != 1:
        return
    if not model.is_weight(node.input[0]):
        yield "activations quantised per channel", "quantise activations per tensor"
        return
    axis = next((a.i for a in node.attribute if a.name == "axis"), None)
    if axis is None:
        # ONNX then means 1, and TensorRT takes 0.
        yield "no axis written for its scales", "write the attribute axis"
        return
    for reader, used, rank in _uses(model, node, axis):
        wanted = _output_channels(reader, rank)
        if wanted is not None and used % rank != wanted:
            yield (
                f"weights of {reader.op_type} quantised along axis {used}, not {wanted}",
                f"give each output channel its scale: axis {wanted}",
            )


def _counted(model: _Model, node: onnx.NodeProto) -> Iterator[tuple[str, str]]:
    scales = model.values(node.input[1]) if node.op_type in {_Q, _DQ} else None
    axis = next((a.i for a in node.attribute if a.name == "axis"), None)
    if scales is None or scales.size == 1 or axis is None or not model.is_weight(node.input[0]):
        return
    sizes = _sizes(model, node)
    if not -len(sizes) <= axis < len(sizes) or sizes[axis] != scales.size:
        yield f"{scales.size} scales along axis {axis} of {sizes}", "give each channel one scale"


def _arithmetic(model: _Model, node: onnx.NodeProto) -> Iterator[tuple[str, str]]:
    kinds = [model.types.get(name) for name in node.input[:2]]
    if node.op_type == "Pow" and any(kind and kind not in _FLOATS for kind in kinds):
        yield "a power of or to a whole number", "make base and exponent floats"
    factors = [a.f for a in node.attribute if a.name in {"alpha", "beta"}]
    if (
        node.op_type == "Gemm"
        and kinds[0] == TensorProto.FLOAT16
        and any(factor != 1 for factor in factors)
    ):
        # TensorRT's importer multiplies by them in FP32.
        yield "alpha or beta of a Gemm in FP16", "multiply weights and bias by them instead"


def _uses(
    model: _Model, node: onnx.NodeProto, axis: int
) -> Iterator[tuple[onnx.NodeProto, int, int]]:
    """Yield who reads what a Q or DQ of weights makes, the axis as seen there, and the rank."""
    for reader in model.readers[node.output[0]]:
        rank = _rank(model, node)
        if reader.op_type in {_Q, _DQ, "Cast"}:
            yield from _uses(model, reader, axis)
        elif reader.op_type == "Transpose":
            given = next((list(a.ints) for a in reader.attribute if a.name == "perm"), None)
            order = given or list(range(rank))[::-1]
            yield from _uses(model, reader, order.index(axis % rank))
        elif reader.op_type in _WEIGHTED and reader.input[1] == node.output[0]:
            yield reader, axis, rank


def _rank(model: _Model, node: onnx.NodeProto) -> int:
    return len(_sizes(model, node))


def _sizes(model: _Model, node: onnx.NodeProto) -> list[int]:
    """Return the shape of the weights that a node behind them makes."""
    name, orders = node.input[0], []
    while name not in model.constants:
        source = model.producers[name]
        name = source.input[0]
        if source.op_type == "Transpose":
            orders.append(next((list(a.ints) for a in source.attribute if a.name == "perm"), None))
    sizes = list(model.constants[name].dims)
    for order in reversed(orders):
        sizes = [sizes[axis] for axis in order] if order else sizes[::-1]
    return sizes


def _output_channels(node: onnx.NodeProto, rank: int) -> int | None:
    if node.op_type == "Gemm":
        return 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
    return {"Conv": 0, "ConvTranspose": 1, "MatMul": rank - 1}.get(node.op_type)


def _paired(model: _Model, node: onnx.NodeProto) -> Iterator[tuple[str, str]]:
    if node.op_type == _Q:
        readers = model.readers[node.output[0]]
        others = sorted({reader.op_type for reader in readers if reader.op_type != _DQ})
        if others or not readers or node.output[0] in model.outputs:
            who = ", ".join(others) or "nobody, or the graph's output"
            yield f"quantised numbers read by {who}", "let only DequantizeLinear read them"
    elif node.op_type == _DQ:
        source = node.input[0]
        if source not in model.constants and model.made_by(source, _Q) is None:
            yield "its numbers come from no QuantizeLinear", "put Q and DQ in pairs"


def _all_inputs(model: _Model, node: onnx.NodeProto) -> Iterator[tuple[str, str]]:
    if node.op_type not in _WEIGHTED:
        return
    data, weights = (_is_quantised(model, name) for name in node.input[:2])
    if data and not weights:
        yield "quantised activations meet float weights", "quantise with AddQDQPairToWeight True"
    if weights and not data:
        yield "quantised weights meet float activations", "quantise its activations, too"
    if len(node.input) > 2 and model.made_by(node.input[2], _DQ):  # noqa: PLR2004
        yield "a quantised bias", "quantise with QuantizeBias False"


def _is_quantised(model: _Model, name: str) -> bool:
    node = model.producers.get(name)
    # Transposing and reshaping do not change what a number is.
    while node is not None and node.op_type in {"Transpose", "Reshape", "Flatten", "Squeeze"}:
        node = model.producers.get(node.input[0])
    return node is not None and node.op_type == _DQ


def _one_type(model: _Model, node: onnx.NodeProto) -> Iterator[tuple[str, str]]:
    if not model.knows(node):
        return
    met = defaultdict(set)
    for role, name in zip(_roles(node, model.opset), node.input, strict=False):
        if name and model.types.get(name) in _FLOATS:
            met[role].add(_FLOATS[model.types[name]])
    for kinds in met.values():
        if len(kinds) > 1:
            yield f"{' and '.join(sorted(kinds))} meet", "put a Cast in front of one of them"


def _roles(node: onnx.NodeProto, opset: int) -> list[str]:
    """Name for each input the type that ONNX gives it; equal names are equal types."""
    if node.op_type in {_Q, "Pow", "GridSample"}:
        return ["T", "T"]  # which TensorRT wants, and ONNX does not, or for Q from 19 on
    formal = [item.type_str for item in defs.get_schema(node.op_type, opset, "").inputs]
    return formal + formal[-1:] * (len(node.input) - len(formal))


def _title(node: onnx.NodeProto) -> str:
    return f"{node.op_type} '{node.name or node.output[0]}'"


_CHECKS: tuple[Callable[[_Model, onnx.NodeProto], Iterator[tuple[str, str]]], ...] = (
    _known_operator,
    _signed,
    _symmetric,
    _scaled,
    _per_channel,
    _counted,
    _arithmetic,
    _paired,
    _all_inputs,
    _one_type,
)
