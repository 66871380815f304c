"""The variants that a compression tried, side by side: size, work, accuracy, speed."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from edge_compression import measure
from edge_compression.export import arrays
from edge_compression.results import Graph, Variant
from edge_runtime.onnx_engine import OnnxEngine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from edge_compression.evaluation import Evaluations, Metrics
    from edge_compression.protocol import ExportModel, Run, Split
    from edge_compression.recipe import Evaluated
    from edge_runtime.findings import Precision


TENSORRT = "trt.onnx"
_ARM_MACHINES = {"aarch64", "arm64"}  # as `platform.machine` calls them


@dataclass(frozen=True)
class GraphFile:
    """The graph of one model, and where it goes in the output folder or in the bundle."""

    file: str
    precision: Precision
    content: bytes

    def open(self) -> OnnxEngine:
        """Open the graph as the processor's run time computes it best.

        TensorRT's flavour is computed operator by operator: ONNX Runtime's fusions round its biases
        to coarse half-precision steps, which TensorRT does not.
        """
        disable_optimisations = PurePosixPath(self.file).name == TENSORRT
        return OnnxEngine.from_file(
            self.content, precision=self.precision, disable_optimisations=disable_optimisations
        )


@dataclass(frozen=True)
class Candidate:
    """A graph for each model, the models that they came from, and the data that they serve."""

    name: str
    precision: Precision
    graphs: Mapping[str, GraphFile]
    models: Mapping[str, ExportModel]
    data: BaseModel

    @property
    def for_processor(self) -> bool:
        """Whether a robot runs all of it in ONNX Runtime."""
        return all(PurePosixPath(graph.file).name != TENSORRT for graph in self.graphs.values())

    @property
    def for_this_processor(self) -> bool:
        """Whether this machine's processor has kernels for all of it."""
        foreign = "cpu.onnx" if platform.machine() in _ARM_MACHINES else "arm.onnx"
        elsewhere = {TENSORRT, "fp16.onnx", foreign}
        return not any(
            PurePosixPath(graph.file).name in elsewhere for graph in self.graphs.values()
        )

    def runs(self) -> dict[str, Run]:
        """Open an engine for each model."""
        return {name: graph.open().run for name, graph in self.graphs.items()}

    def evaluate(self, evaluations: Evaluations, split: Split) -> Metrics:
        """Evaluate the engines, as the robot will run them."""
        contents = {name: graph.content for name, graph in self.graphs.items()}
        if not self.for_processor:
            contents["run time"] = b"without optimisations"
        return evaluations.graphs(contents, self.runs, self.data, split)


def path_of(model: str, models: Mapping[str, object], file: str) -> str:
    """Return where a model's file goes: into a folder of its own where there are several."""
    return file if len(models) == 1 else f"{model}/{file}"


def measure_variants(
    evaluations: Evaluations, candidates: Sequence[Candidate], evaluated: Evaluated = "all"
) -> list[Variant]:
    """Evaluate the candidates on held-out data in ONNX Runtime, and time them in turns.

    What no robot runs in ONNX Runtime is not timed.

    Raises:
        SettingError: the skill's evaluation lacks its own primary metric.
    """
    runs = {}
    for candidate in (each for each in candidates if each.for_processor):
        for name, run in candidate.runs().items():
            inputs = arrays(candidate.models[name].examples[0])
            runs[f"{candidate.name}/{name}"] = partial(run, inputs)
    times = measure.latencies(runs)
    return [
        _measured(
            candidate,
            candidate.evaluate(evaluations, "held_out")
            if evaluated == "all" or candidate.for_this_processor
            else {},
            times,
        )
        for candidate in candidates
    ]


def _measured(
    candidate: Candidate, accuracy: Metrics, times: Mapping[str, dict[str, float]]
) -> Variant:
    models = candidate.models
    graphs = {
        name: Graph(
            file=graph.file,
            precision=graph.precision,
            parameters=measure.parameters(models[name].network),
            macs=measure.macs(models[name].network, models[name].examples[0]),
            bytes=len(graph.content),
            accuracy=accuracy,
            latency_ms=times.get(f"{candidate.name}/{name}", {}),
        )
        for name, graph in candidate.graphs.items()
    }
    percentiles = next(iter(graphs.values())).latency_ms
    return Variant(
        name=candidate.name,
        precision=candidate.precision,
        bytes=sum(graph.bytes for graph in graphs.values()),
        accuracy=accuracy,
        latency_ms={
            each: sum(models[name].calls * graph.latency_ms[each] for name, graph in graphs.items())
            for each in percentiles
        },
        graphs=graphs,
        **measure.sizes(models),
    )
