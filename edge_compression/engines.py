"""The graphs that are made of a network: float, half precision, eight bits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_compression import metrics
from edge_compression.console import say
from edge_compression.export import check_against_torch, export
from edge_compression.fp16 import to_fp16
from edge_compression.quantiser import Quantiser
from edge_compression.results import UNPRUNED
from edge_compression.variants import Candidate, GraphFile, path_of
from edge_runtime.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel
    from torch import nn

    from edge_compression.calibration import Method
    from edge_compression.job import Job
    from edge_compression.quantisation import Flavour
    from edge_compression.results import TensorError

FP32 = "fp32.onnx"
FP16 = "fp16.onnx"
_ELSEWHERE: dict[Flavour, str] = {"arm": "for Arm", "trt": "for TensorRT"}


@dataclass
class Engines:
    """What was made.

    Attributes:
        candidates: the network as it came first, then what is made of the small one.
        differences: of each exported graph from torch, as a share of the output, by candidate, and
            by model where there are several.
        tensors: what quantising did to each tensor, by file.
        failures: why a candidate is not to be shipped, by its name.
    """

    candidates: list[Candidate] = field(default_factory=list)
    differences: dict[str, float] = field(default_factory=dict)
    tensors: dict[str, list[TensorError]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def make_engines(job: Job, original: nn.Module, smaller: nn.Module | None) -> Engines:
    """Export and quantise as the recipe asks; `smaller` is None where it changes no network.

    Where the network or what it sees is lessened, the one that came is exported, too, at its own
    size: all others are compared with it. One in half precision or in eight bits that cannot be
    made is noted as a failure, and the others are made.

    Raises:
        SuiteError: an exported graph is wrong, or the calibration data or a setting is refused.
    """
    recipe = job.recipe.recipe
    made = Engines()
    whole = job.skill.uncompressed(job.data)
    network = smaller or original
    if smaller is None and whole == job.data:
        last = _float(job, made, "fp32", FP32, network=original, data=job.data)
    else:
        _float(job, made, "original fp32", UNPRUNED, network=original, data=whole)
        change = "resized" if smaller is None else "tuned" if recipe.prune is None else "pruned"
        last = _float(job, made, f"{change} fp32", FP32, network=network, data=job.data)
    quantiser = None
    if recipe.quantise is not None:
        say(f"quantising with {recipe.quantise.calibration_images} images")
        quantiser = Quantiser.of(job, recipe.quantise, last, network)
    if recipe.fp16:
        name = last.name.replace("fp32", "fp16")
        try:
            graphs = (
                {key: to_fp16(graph.content, {}) for key, graph in last.graphs.items()}
                if quantiser is None
                else quantiser.half()
            )
        except EngineError as error:
            made.failures[name] = str(error)
        else:
            files = {
                key: GraphFile(path_of(key, last.models, FP16), "fp16", graph)
                for key, graph in graphs.items()
            }
            made.candidates.append(Candidate(name, "fp16", files, last.models, last.data))
    if quantiser is not None:
        _quantise(job, made, last, quantiser)
    return made


def _float(
    job: Job, made: Engines, name: str, file: str, *, network: nn.Module, data: BaseModel
) -> Candidate:
    say(f"exporting {name}")
    models = job.skill.models(network, data)
    graphs = {}
    for key, model in models.items():
        graph = export(model)
        label = name if len(models) == 1 else f"{name}, {key}"
        made.differences[label] = check_against_torch(graph, model)
        graphs[key] = GraphFile(path_of(key, models, file), "fp32", graph)
    candidate = Candidate(name, "fp32", graphs, models, data)
    made.candidates.append(candidate)
    return candidate


def _quantise(job: Job, made: Engines, last: Candidate, quantiser: Quantiser) -> None:
    tried: dict[Method, Candidate] = {}
    kind = last.name.replace("fp32", "int8")
    for method in quantiser.calibrations:
        try:
            tried[method] = quantiser.make(kind, method, "cpu")
        except EngineError as error:  # noqa: PERF203 - three turns
            made.failures[f"{kind} {method}"] = str(error)
    validated = _validated(job, tried)
    metric = metrics.primary(job.skill)
    best = max(
        tried,
        key=lambda method: metrics.score(metric, validated[method]),
        default=next(iter(quantiser.calibrations)),
    )
    if not tried:
        made.failures[kind] = made.failures.pop(f"{kind} {best}")
    for method, candidate in tried.items():
        if method == best:
            _add(made, quantiser, candidate, best, "cpu")
            continue
        other = quantiser.renamed(candidate, f"{kind} {method}", f"variants/{method}.onnx")
        made.candidates.append(other)
        made.failures[other.name] = (
            f"ranges by {best} were chosen: {validated[best]:.4f} on the validation split, "
            f"here {validated[method]:.4f}"
        )
    for flavour, where in _ELSEWHERE.items():
        try:
            candidate = quantiser.make(f"{kind} {where}", best, flavour)
        except EngineError as error:  # noqa: PERF203 - two turns
            made.failures[f"{kind} {where}"] = str(error)
        else:
            _add(made, quantiser, candidate, best, flavour)


def _validated(job: Job, tried: Mapping[Method, Candidate]) -> dict[Method, float]:
    """Return the primary metric on the validation split; NaN where there is nothing to choose."""
    if len(tried) == 1:
        return dict.fromkeys(tried, math.nan)
    return {
        method: candidate.evaluate(job.evaluations, "validation")[job.skill.primary_metric]
        for method, candidate in tried.items()
    }


def _add(
    made: Engines, quantiser: Quantiser, candidate: Candidate, method: Method, flavour: Flavour
) -> None:
    made.candidates.append(candidate)
    made.tensors.update(quantiser.errors(candidate, method, flavour))
