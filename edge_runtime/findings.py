"""What a device finds out about a model: a TensorRT plan, and which engine is the fastest."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_runtime.records import Record

Precision = Literal["fp32", "fp16", "int8"]
"""Of the bulk of a network's arithmetic; inputs and outputs are float32 in all of them."""
Shape = tuple[int, ...]


class Plan(Record):
    """A TensorRT plan, built on one kind of device.

    `graph`: the engine it was built from. `shapes`: least, best and largest shape of every input.
    `difference` from what ONNX Runtime makes of the same graph, node by node: root mean square, as
    a share of the outputs. `latency_ms` by percentile, one run.
    """

    graph: str
    precision: Precision
    shapes: dict[str, tuple[Shape, Shape, Shape]]
    difference: float
    latency_ms: dict[str, float]
    host: dict[str, str]
    created: str


class Choice(Record):
    """Which engine is the fastest on one kind of processor; all were timed in turns there.

    `latency_ms`: the median of every engine that was timed, one run.
    """

    file: str
    latency_ms: dict[str, float]
    library: str
    host: dict[str, str]
    created: str


class OldFindings(Record):
    """What manifests of schema 2 say of devices: plans by path, choices by processor."""

    plans: dict[str, Plan] = Field(default_factory=dict)
    choices: dict[str, Choice] = Field(default_factory=dict)
