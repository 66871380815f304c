"""Nodes in float that read a tensor as it was before it was rounded for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    import onnx


def spare_float_readers(model: onnx.ModelProto, in_float: Collection[str]) -> None:
    """Let the nodes `in_float`, by name, and the graph's outputs bypass pairs, in place.

    The quantiser puts one pair behind a tensor, for all who read it. Of those in float it takes
    precision and the time of a DequantizeLinear, for nothing where the tensor was made in float.
    """
    graph = model.graph
    writers = {name: node for node in graph.node for name in node.output}
    outputs = {output.name for output in graph.output}
    sources = {}  # of pairs behind tensors that were made in float: what comes out, what goes in
    for node in graph.node:
        before = writers.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if before is None or before.op_type != "QuantizeLinear":
            continue
        writer = writers.get(before.input[0])
        if writer is None or writer.name in in_float:
            sources[node.output[0]] = before.input[0]
    renamed = {sources[name]: name for name in sources if name in outputs}
    renamed |= {name: f"{name}_rounded" for name in renamed.values()}
    for node in graph.node:
        direct = sources if node.name in in_float else {}
        for at, name in enumerate(node.input):
            read = direct.get(name, name)
            node.input[at] = renamed.get(read, read)
        for at, name in enumerate(node.output):
            node.output[at] = renamed.get(name, name)
