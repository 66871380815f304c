"""How a graph is quantised for TensorRT: explicitly, and as a strongly typed network.

The scales are FP16, as are the operands. In a strongly typed network a QuantizeLinear's scale has
the type of its input, and a DequantizeLinear gives the type of its scale (onnx-tensorrt,
`QuantDequantLinearHelper`). With float32 scales, casts would stand between the pair and the
convolution, which TensorRT then runs in float. ONNX knows FP16 scales from operator set 19 on, and
TensorRT reads sets 9 to 20 since 10.0.

Pairs stand at the inputs of weighted operators and of residual sums, on weights, too, and at no
outputs: TensorRT moves them through Relu, pooling and resizing itself. Biases are not quantised.
These are the placements that its guide to quantised types recommends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
from onnx import version_converter

from edge_runtime.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPSET = 19
_WEIGHTED = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
OPERATORS = [*_WEIGHTED, "Add"]
OPTIONS: dict[str, Any] = {
    "ActivationSymmetric": True,
    "AddQDQPairToWeight": True,
    "QuantizeBias": False,
    "OpTypesToExcludeOutputQuantization": OPERATORS,
    "QDQOpTypePerChannelSupportToAxis": {"Conv": 0, "ConvTranspose": 1},
    "MatMulConstBOnly": True,
    "DedicatedQDQPair": False,
}
"""Extra options of ONNX Runtime's quantiser."""


def raise_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the float32 graph in an operator set that knows FP16 scales.

    Raises:
        EngineError: one of its operators cannot be converted.
    """
    if any(
        item.domain in {"", "ai.onnx"} and item.version >= _OPSET for item in model.opset_import
    ):
        return model
    try:
        return version_converter.convert_version(model, _OPSET)
    except (RuntimeError, version_converter.ConvertError) as error:
        message = (
            f"the graph cannot be converted to ONNX operator set {_OPSET}, which TensorRT's "
            f"flavour needs: {error}"
        )
        raise EngineError(message) from error


def sums_with_constants(model: onnx.ModelProto) -> list[str]:
    """Name the sums that are biases rather than residuals; they are not quantised."""
    constants = {constant.name for constant in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Add" and constants.intersection(node.input)
    ]


def fuse_sums(model: onnx.ModelProto) -> None:
    """Take away the pair between a weighted operator and a sum that alone reads its result.

    TensorRT adds the other, quantised summand while the operator's result is still at hand.
    """
    writers = {name: node for node in model.graph.node for name in node.output}
    gone: list[onnx.NodeProto] = []
    for total in [node for node in model.graph.node if node.op_type == "Add"]:
        for at, pair in _pairs_before(total, writers):
            source = writers.get(pair[0].input[0])
            if source is None or source.op_type not in _WEIGHTED:
                continue
            if all(_readers(model, node.output[0]) == 1 for node in (source, *pair)):
                total.input[at] = pair[0].input[0]
                gone.extend(pair)
                break  # one of the two, so that the other can be fused with it
    for node in gone:
        model.graph.node.remove(node)


def _pairs_before(
    node: onnx.NodeProto, writers: dict[str, onnx.NodeProto]
) -> Iterator[tuple[int, tuple[onnx.NodeProto, onnx.NodeProto]]]:
    for at, name in enumerate(node.input):
        after = writers.get(name)
        before = None if after is None else writers.get(after.input[0])
        if after is not None and before is not None and before.op_type == "QuantizeLinear":
            yield at, (before, after)


def _readers(model: onnx.ModelProto, name: str) -> int:
    read = [output.name for output in model.graph.output]
    read.extend(name for node in model.graph.node for name in node.input)
    return read.count(name)
