"""Convolutions of few channels, for which ONNX Runtime's eight-bit kernels do not pay."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

# Input channels of a filter; below, packing them for the byte kernels costs more than it saves.
ENOUGH = 8


def shallow_convolutions(model: onnx.ModelProto) -> list[str]:
    """Name the convolutions with too few input channels for eight bits to pay.

    Those of a filter count, so that depthwise convolutions stay in float, too. On x86 with VNNI
    two networks made mostly of them took as long with those in eight bits, within a few percent:
    not worth the accuracy.
    """
    shapes = {weight.name: weight.dims for weight in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and shapes.get(node.input[1], [0, ENOUGH])[1] < ENOUGH
    ]


def pool_first(model: onnx.ModelProto, convolutions: Sequence[str]) -> None:
    """Turn Relu -> MaxPool into MaxPool -> Relu behind these convolutions; the result is equal.

    ONNX Runtime moves quantisation up through a pooling, up to the Relu, and then pools bytes in
    a layout for which it has no fast kernel. It does not move it through the Relu.
    """
    nodes = model.graph.node
    outputs = {output.name for output in model.graph.output}

    def only_reader(name: str, kind: str) -> int | None:
        readers = [at for at, node in enumerate(nodes) if name in node.input]
        alone = len(readers) == 1 and name not in outputs and nodes[readers[0]].op_type == kind
        return readers[0] if alone else None

    for convolution in [node for node in nodes if node.name in convolutions]:
        first = only_reader(convolution.output[0], "Relu")
        second = None if first is None else only_reader(nodes[first].output[0], "MaxPool")
        if first is None or second is None:
            continue
        relu, pool = copy.deepcopy(nodes[first]), copy.deepcopy(nodes[second])
        # A name of its own: what was observed of the tensor between the two holds no more.
        between = f"{pool.output[0]}_before_{relu.name}"
        pool.input[0], relu.output[0] = relu.input[0], pool.output[0]
        pool.output[0] = relu.input[0] = between
        nodes[first].CopyFrom(pool)
        nodes[second].CopyFrom(relu)
    # What is noted there about shapes may no longer be so; it is inferred again.
    model.graph.ClearField("value_info")
