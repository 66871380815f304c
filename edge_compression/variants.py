"""The networks that a compression tried, side by side: size, work, accuracy, speed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edge_compression import measure
from edge_compression.results import Variant
from edge_runtime.errors import SettingError
from edge_runtime.onnx_engine import OnnxEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel
    from torch import nn

    from edge_compression.protocol import CompressibleSkill


@dataclass(frozen=True)
class Candidate:
    """A graph to measure, and the network that it came from."""

    name: str
    file: str
    precision: Literal["fp32", "int8"]
    graph: bytes
    network: nn.Module


def measure_variants(
    skill: CompressibleSkill, data: BaseModel, candidates: Sequence[Candidate]
) -> list[Variant]:
    """Evaluate every graph in ONNX Runtime, as the robot will run it, and time them in turns.

    Raises:
        SettingError: the skill's evaluation lacks its own headline metric.
    """
    examples = skill.example_inputs(data)
    engines = {
        candidate.name: OnnxEngine.from_file(candidate.graph, precision=candidate.precision)
        for candidate in candidates
    }
    latencies = measure.latencies(engines, {name: x.numpy() for name, x in examples.items()})
    return [
        Variant(
            name=candidate.name,
            file=candidate.file,
            precision=candidate.precision,
            parameters=measure.parameters(candidate.network),
            macs=measure.macs(candidate.network, examples),
            bytes=len(candidate.graph),
            accuracy=_accuracy(skill, data, engines[candidate.name]),
            latency_ms=latencies[candidate.name],
        )
        for candidate in candidates
    ]


def _accuracy(skill: CompressibleSkill, data: BaseModel, engine: OnnxEngine) -> dict[str, float]:
    accuracy = {name: float(value) for name, value in skill.evaluate(engine.run, data).items()}
    if skill.headline not in accuracy:
        message = (
            f"the skill '{skill.name}' evaluates {', '.join(accuracy)}, but its headline is "
            f"'{skill.headline}': one of the two must be corrected in its skill.py"
        )
        raise SettingError(message)
    return accuracy
