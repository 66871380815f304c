"""Convolutions of concatenated tensors as sums of convolutions, so that each part has its scale.

Eight bits are shared by all that is concatenated: beside features that reach 100, a state between
-1 and 1 would have four levels left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence


_CHANNELS = 1  # axis


def split_concatenations(model: onnx.ModelProto) -> None:
    """Replace every convolution of a concatenation along the channels; the sums stay the same.

    A concatenation that something else reads, too, stays for that; and so does everything where
    the parts' channels are not known, or the convolution is grouped.
    """
    graph = model.graph
    channels = _channels(model)
    constants = {item.name: item for item in graph.initializer}
    joined = {
        node.output[0]: list(node.input)
        for node in graph.node
        if node.op_type == "Concat"
        and helper.get_node_attr_value(node, "axis") == _CHANNELS
        and all(name in channels for name in node.input)
    }
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        parts = joined.get(node.input[0]) if _is_plain(node) else None
        if parts is None or node.input[1] not in constants:
            nodes.append(node)
            continue
        weights = numpy_helper.to_array(constants[node.input[1]])
        ends = np.cumsum([channels[part] for part in parts])[:-1]
        slices = np.split(weights, ends, axis=1)
        graph.initializer.extend(
            numpy_helper.from_array(np.ascontiguousarray(piece), f"{node.input[1]}.{k}")
            for k, piece in enumerate(slices)
        )
        nodes += _sum_of(node, parts)
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unread(graph)


def _channels(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: value.type.tensor_type.shape.dim
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    return {
        name: dims[_CHANNELS].dim_value
        for name, dims in shapes.items()
        if len(dims) > _CHANNELS and dims[_CHANNELS].dim_value > 0
    }


def _is_plain(node: onnx.NodeProto) -> bool:
    groups = next((item.i for item in node.attribute if item.name == "group"), 1)
    return node.op_type == "Conv" and groups == 1


def _sum_of(node: onnx.NodeProto, parts: Sequence[str]) -> list[onnx.NodeProto]:
    """Return a convolution for each part, the first with the bias, and their sum."""
    output = node.output[0]
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    made: list[onnx.NodeProto] = []
    total = ""
    for k, part in enumerate(parts):
        term = f"{output}.{k}"
        inputs = [part, f"{node.input[1]}.{k}", *(node.input[2:] if k == 0 else ())]
        made.append(helper.make_node("Conv", inputs, [term], f"{node.name}.{k}", **attributes))
        if k:
            after = output if k == len(parts) - 1 else f"{output}.to{k}"
            made.append(helper.make_node("Add", [total, term], [after], f"{node.name}.add{k}"))
            total = after
        else:
            total = term
    return made


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Take out concatenations and weights that nobody reads any more."""
    read = {name for node in graph.node for name in node.input} | {x.name for x in graph.output}
    kept = [node for node in graph.node if node.op_type != "Concat" or node.output[0] in read]
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    weights = [item for item in graph.initializer if item.name in used]
    del graph.initializer[:]
    graph.initializer.extend(weights)
