"""Sums in front of the gates of recurrent units, which eight bits are too coarse for."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_GATES = {"Sigmoid", "Tanh", "HardSigmoid"}


def gate_sums(model: onnx.ModelProto) -> list[str]:
    """Name the sums that only gates read, also by way of other such sums.

    They reach far beyond what a gate tells apart, so that a step of eight bits is most of its
    range; adding in float costs little beside the convolutions that are added.
    """
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            readers[name].append(node)
    outputs = {output.name for output in model.graph.output}
    found: dict[str, str] = {}  # node by output
    for node in reversed(model.graph.node):  # who reads comes later
        name = node.output[0]
        if node.op_type != "Add" or name in outputs or not readers[name]:
            continue
        if all(n.op_type in _GATES or n.output[0] in found for n in readers[name]):
            found[name] = node.name
    return list(found.values())
