"""Sums in front of the gates of recurrent units, which eight bits of all they reach do not tell."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import onnx

    from edge_compression.calibration import Range

LARGEST = 8.0
"""What a gate still tells apart: its slope there is a thousandth of what it is at zero."""

_GATES = {"Sigmoid", "Tanh", "HardSigmoid"}


def gate_sums(model: onnx.ModelProto) -> list[str]:
    """Name the sums that only gates read, also by way of other such sums.

    They reach far beyond what a gate tells apart, so that a step of eight bits is most of its
    range.
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


def gate_terms(
    model: onnx.ModelProto,
    sums: Collection[str],
    ranges: Mapping[str, Range],
    in_float: Collection[str],
) -> dict[str, Range]:
    """Return the tensors that gate sums can add up in eight bits, and one range for all of them.

    These are the outputs of convolutions, and sums of nothing else. On a grid that they share,
    which ends where gates do, adding is exact but for what saturates.

    Args:
        model: the float graph.
        sums: the nodes of `gate_sums`.
        ranges: of the tensors, as observed.
        in_float: nodes that are not quantised.
    """
    readers: dict[str, set[str]] = defaultdict(set)
    for node in model.graph.node:
        for name in node.input:
            readers[name].add(node.name)
    for output in model.graph.output:
        readers[output.name].add("")
    terms: set[str] = set()
    for node in model.graph.node:
        if node.name in sums:
            of_terms = terms.issuperset(node.input)
        else:
            of_terms = node.op_type == "Conv" and readers[node.output[0]] <= set(sums)
        if of_terms and node.name not in in_float:
            terms.add(node.output[0])
    reached = max((abs(end) for name in terms for end in ranges[name]), default=0.0)
    largest = min(reached, LARGEST)
    return dict.fromkeys(terms, (-largest, largest))
