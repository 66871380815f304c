"""Weights of convolutions that are computed in float, kept in a byte each.

Where activations need float, weights seldom do. They are cast and scaled by operators on constants,
which run times compute once, when they load the graph: not by Q/DQ pairs, which they would take for
a wish to compute in eight bits, or leave in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Collection

_LARGEST = 127
_FEWEST = 1024  # weights, below which the operators weigh as much as what they save


def keep_in_bytes(model: onnx.ModelProto, keep_float: Collection[str] = ()) -> None:
    """Keep float weights of convolutions in bytes, with a scale for each filter, in place.

    Those in `keep_float`, and those that something else reads, too, stay as they are.
    """
    graph = model.graph
    readers = [(name, node) for node in graph.node for name in node.input]
    filters = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    others = {
        name for name, node in readers if node.op_type != "Conv" or name != node.input[1]
    } | set(keep_float)
    nodes, constants = [], []
    for weight in graph.initializer:
        size = int(np.prod(weight.dims))
        if (
            weight.name not in filters - others
            or weight.data_type != TensorProto.FLOAT
            or size < _FEWEST
        ):
            constants.append(weight)
            continue
        name = weight.name
        array = numpy_helper.to_array(weight)
        scale = np.abs(array).max(axis=(1, 2, 3), keepdims=True) / _LARGEST
        scale[scale == 0] = 1
        parts = {"bytes": np.rint(array / scale).astype(np.int8), "scale": scale}
        constants += [numpy_helper.from_array(part, f"{name}_{key}") for key, part in parts.items()]
        cast = helper.make_node(
            "Cast", [f"{name}_bytes"], [f"{name}_cast"], f"{name}_cast", to=TensorProto.FLOAT
        )
        nodes += [cast, helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [name], name)]
    nodes += graph.node
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(constants)
    graph.node.extend(nodes)
