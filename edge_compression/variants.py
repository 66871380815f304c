"""The networks that a compression tried, side by side: size, work, accuracy, speed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from edge_compression import measure
from edge_compression.judging import judge
from edge_compression.results import Variant
from edge_runtime.onnx_engine import OnnxEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel
    from torch import nn

    from edge_compression.protocol import CompressibleSkill


TENSORRT = "trt.onnx"


@dataclass(frozen=True)
class Candidate:
    """A graph to measure, the network that it came from, and the data section that it serves."""

    name: str
    file: str
    precision: Literal["fp32", "fp16", "int8"]
    graph: bytes
    network: nn.Module
    data: BaseModel

    @property
    def literal(self) -> bool:
        """Whether ONNX Runtime is to compute it operator by operator, as TensorRT's flavour.

        Its fusions round that one's biases to coarse half-precision steps, which TensorRT does not.
        """
        return self.file == TENSORRT

    def open(self) -> OnnxEngine:
        """Open the graph as the processor's run time computes it best, unless it is `literal`."""
        return OnnxEngine.from_file(self.graph, precision=self.precision, literal=self.literal)


def measure_variants(skill: CompressibleSkill, candidates: Sequence[Candidate]) -> list[Variant]:
    """Evaluate every graph in ONNX Runtime, as the robot will run it, and time them in turns.

    A literal one, which no robot runs like that, is not timed.

    Raises:
        SettingError: the skill's evaluation lacks its own headline metric.
    """
    engines = {candidate.name: candidate.open() for candidate in candidates}
    examples = {candidate.name: skill.example_inputs(candidate.data) for candidate in candidates}
    latencies = measure.latencies(
        {
            c.name: partial(
                engines[c.name].run, {key: x.numpy() for key, x in examples[c.name].items()}
            )
            for c in candidates
            if not c.literal
        }
    )
    return [
        Variant(
            name=candidate.name,
            file=candidate.file,
            precision=candidate.precision,
            parameters=measure.parameters(candidate.network),
            macs=measure.macs(candidate.network, examples[candidate.name]),
            bytes=len(candidate.graph),
            accuracy=judge(skill, engines[candidate.name].run, candidate.data, "held_out"),
            latency_ms=latencies.get(candidate.name, {}),
        )
        for candidate in candidates
    ]
