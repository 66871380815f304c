"""Half precision: graphs that compute in FP16 and are spoken to in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import convert_float_to_float16

from edge_runtime.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_compression.calibration import Range

_LARGEST = 65504.0  # of FP16
_HEADROOM = 0.5  # of it, for what other images than those of the calibration reach
_SMALLEST = 2.0**-14  # with all of FP16's digits


def to_fp16(graph: bytes, extremes: Mapping[str, Range]) -> bytes:
    """Return the graph in FP16 throughout, with float32 inputs and outputs as before.

    What FP16 cannot hold stays in float32, with the nodes around it; see `unfit`. Numbers that are
    nearer to zero than 6e-8 become 6e-8, so that nothing that is divided by becomes zero.

    Args:
        graph: in float32.
        extremes: of the graph's activations, such as `Calibration.extremes`; of those that are
            not there nothing is known, and FP16 is taken to hold them.
    """
    model = onnx.load_from_string(graph)
    half: bytes = halve(model, unfit(model, extremes)).SerializeToString()
    return half


def unfit(model: onnx.ModelProto, extremes: Mapping[str, Range]) -> set[str]:
    """Name the tensors that FP16 cannot be trusted with.

    These are the activations that come within a factor of two of its largest number, 65504, past
    which they would be infinite, the constants that exceed it, and the constants so small that it
    has less than its 11 binary digits for any of their values.
    """
    wide = {
        tensor
        for tensor, values in extremes.items()
        if max(abs(value) for value in values) > _HEADROOM * _LARGEST
    }
    for constant in model.graph.initializer:
        if constant.data_type == TensorProto.FLOAT:
            peak = float(np.abs(numpy_helper.to_array(constant)).max(initial=0.0))
            if peak > _LARGEST or 0 < peak < _SMALLEST:
                wide.add(constant.name)
    return wide


def halve(model: onnx.ModelProto, single: set[str]) -> onnx.ModelProto:
    """Bring a graph with or without Q/DQ pairs to FP16; the scales of the pairs become FP16, too.

    Args:
        model: in float32; it is changed.
        single: tensors of it that stay in float32.

    Raises:
        EngineError: what comes out is no valid graph.
    """
    blocked = [node.name for node in model.graph.node if single & {*node.input, *node.output}]
    half: onnx.ModelProto = convert_float_to_float16(
        model, keep_io_types=True, node_block_list=blocked
    )
    # Of what two nodes in single precision read, the converter makes two casts of one name.
    casts = {tuple(node.output): node for node in half.graph.node}
    del half.graph.node[:]
    half.graph.node.extend(casts.values())
    # It appends its casts at the end.
    sortable = ONNXModel(half)
    sortable.topological_sort()
    _cut_round_trips(half)
    sortable.clean_initializers()
    try:
        onnx.checker.check_model(half, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        message = f"the graph cannot be brought to half precision: {error}"
        raise EngineError(message) from error
    return half


def _cut_round_trips(model: onnx.ModelProto) -> None:
    """Join float32 neighbours directly, between which the converter casts to FP16 and back."""
    # What was noted about types is of the graph before.
    model.graph.ClearField("value_info")
    graph = onnx.shape_inference.infer_shapes(model).graph
    single = {
        value.name
        for value in (*graph.input, *graph.value_info)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    nodes = model.graph.node
    down = {
        node.output[0]: node.input[0]
        for node in nodes
        if _casts(node, TensorProto.FLOAT16) and node.input[0] in single
    }
    again = {
        node.output[0]: down[node.input[0]]
        for node in nodes
        if _casts(node, TensorProto.FLOAT) and node.input[0] in down
    }
    outputs = {output.name for output in model.graph.output}
    for node in nodes:
        if node.output[0] in again and node.output[0] in outputs:
            node.CopyFrom(onnx.helper.make_node("Identity", [again[node.output[0]]], node.output))
        for at, name in enumerate(node.input):
            node.input[at] = again.get(name, name)
    read = outputs.union(*(node.input for node in nodes))
    left = [node for node in nodes if node.op_type != "Cast" or read.intersection(node.output)]
    del model.graph.node[:]
    model.graph.node.extend(left)


def _casts(node: onnx.NodeProto, to: int) -> bool:
    return node.op_type == "Cast" and any(
        attribute.name == "to" and attribute.i == to for attribute in node.attribute
    )
