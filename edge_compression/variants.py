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

    def open(self) -> OnnxEngine:
        """Open the graph as the processor's run time computes it best, but for TensorRT's flavour.

        ONNX Runtime's fusions round that one's biases to coarse half-precision steps, which
        TensorRT does not: it is computed operator by operator.
        """
        literal = self.file == TENSORRT
        return OnnxEngine.from_file(self.graph, precision=self.precision, literal=literal)


def measure_variants(skill: CompressibleSkill, candidates: Sequence[Candidate]) -> list[Variant]:
    """Evaluate every graph in ONNX Runtime, as the robot will run it, and time them in turns.

    Raises:
        SettingError: the skill's evaluation lacks its own headline metric.
    """
    engines = {candidate.name: candidate.open() for candidate in candidates}
    examples = {candidate.name: skill.example_inputs(candidate.data) for candidate in candidates}
    latencies = measure.latencies(
        {
            name: partial(engine.run, {key: x.numpy() for key, x in examples[name].items()})
            for name, engine in engines.items()
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
            latency_ms=latencies[candidate.name],
        )
        for candidate in candidates
    ]
