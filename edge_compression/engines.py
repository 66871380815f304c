"""The graphs that are made of a network: float, half precision, eight bits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, get_args

from edge_compression.calibration import Method, calibrate, calibration_images
from edge_compression.console import say
from edge_compression.export import check_against_torch, export
from edge_compression.fp16 import to_fp16
from edge_compression.judging import judge
from edge_compression.mixed_precision import protect
from edge_compression.quantisation import quantise
from edge_compression.results import UNPRUNED
from edge_compression.tensor_errors import marked, tensor_errors
from edge_compression.tensorrt_rules import violations
from edge_compression.variants import TENSORRT, Candidate
from edge_runtime.errors import EngineError
from edge_runtime.onnx_engine import OnnxEngine

if TYPE_CHECKING:
    from torch import nn

    from edge_compression.calibration import Calibration
    from edge_compression.job import Job
    from edge_compression.protocol import Arrays
    from edge_compression.quantisation import Flavour
    from edge_compression.recipe import QuantiseSettings
    from edge_compression.results import TensorError

FP32 = "fp32.onnx"
FP16 = "fp16.onnx"
INT8: dict[Flavour, str] = {"cpu": "cpu.onnx", "trt": TENSORRT}


@dataclass
class Engines:
    """What was made.

    Attributes:
        candidates: the network as it came first, then what is made of the small one.
        differences: of each exported graph from torch, as a share of the output, by candidate.
        tensors: what quantising did to each tensor, by file.
        failures: why a candidate is not to be shipped, by its name.
    """

    candidates: list[Candidate] = field(default_factory=list)
    differences: dict[str, float] = field(default_factory=dict)
    tensors: dict[str, list[TensorError]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def make_engines(job: Job, original: nn.Module, smaller: nn.Module | None) -> Engines:
    """Export and quantise as the recipe asks; `smaller` is None where it changes no network.

    Raises:
        SuiteError: an exported graph is wrong, the calibration data is refused, or what the
            recipe asks of the quantised graph cannot be met.
    """
    recipe = job.recipe.recipe
    made = Engines()
    if smaller is None:
        last = _float(job, made, "fp32", FP32, original)
    else:
        _float(job, made, "original fp32", UNPRUNED, original, whole=True)
        change = "pruned" if recipe.prune is not None else "tuned"
        last = _float(job, made, f"{change} fp32", FP32, smaller)
    if recipe.fp16:
        name = last.name.replace("fp32", "fp16")
        made.candidates.append(
            Candidate(name, FP16, "fp16", to_fp16(last.graph), last.network, last.data)
        )
    if recipe.quantise is not None:
        _quantised(job, made, last, recipe.quantise)
    return made


def _float(
    job: Job, made: Engines, name: str, file: str, network: nn.Module, *, whole: bool = False
) -> Candidate:
    say(f"exporting {name}")
    data = job.skill.uncompressed(job.data) if whole else job.data
    inputs, interface = job.skill.example_inputs(data), job.skill.interface(data)
    graph = export(network, inputs, interface)
    made.differences[name] = check_against_torch(graph, network, inputs, interface)
    candidate = Candidate(name, file, "fp32", graph, network, data)
    made.candidates.append(candidate)
    return candidate


def _quantised(job: Job, made: Engines, last: Candidate, settings: QuantiseSettings) -> None:
    say(f"quantising with {settings.calibration_images} images")
    names = list(job.skill.example_inputs(job.data))
    images = calibration_images(job.skill, job.data, settings, names)
    workshop = _Workshop(job, settings, last, images)
    methods: tuple[Method, ...] = (
        get_args(Method) if settings.method == "best" else (settings.method,)
    )
    calibrations = {method: calibrate(last.graph, images, method) for method in methods}
    tried = {method: workshop.make(calibrations[method], "cpu") for method in methods}
    validated = {method: workshop.headline(tried[method][0]) for method in methods}
    # A headline without a value, which no comparison is true of, is the worst.
    best = max(methods, key=lambda method: (validated[method] > -math.inf, validated[method]))
    kind = last.name.replace("fp32", "int8")
    for method, (graph, _) in tried.items():
        name, file = kind, INT8["cpu"]
        if method != best:
            name, file = f"{kind} {method}", f"variants/{method}.onnx"
            made.failures[name] = (
                f"ranges by {best} were chosen: {validated[best]:.4f} on the validation split, "
                f"here {validated[method]:.4f}"
            )
        made.candidates.append(Candidate(name, file, "int8", graph, last.network, last.data))
    graph, errors = workshop.make(calibrations[best], "trt")
    if broken := violations(graph):
        message = f"{INT8['trt']} breaks rules of TensorRT: {'; '.join(map(str, broken))}"
        raise EngineError(message)
    name = f"{kind} for TensorRT"
    made.candidates.append(Candidate(name, INT8["trt"], "int8", graph, last.network, last.data))
    made.tensors = {INT8["cpu"]: tried[best][1], INT8["trt"]: errors}


@dataclass(frozen=True)
class _Workshop:
    """Quantises one graph as the recipe wishes."""

    job: Job
    settings: QuantiseSettings
    last: Candidate
    images: list[Arrays]

    def make(self, calibration: Calibration, flavour: Flavour) -> tuple[bytes, list[TensorError]]:
        """Return the graph, and what it does to each tensor."""
        settings = self.settings
        errors = tensor_errors(calibration, flavour, self.images)
        if settings.max_drop is None:
            graph = quantise(calibration, flavour, settings.keep_float)
        else:
            graph, _ = protect(
                calibration,
                flavour,
                errors,
                partial(self.headline, literal=flavour == "trt"),
                self.headline(self.last.graph) - settings.max_drop,
                keep_float=settings.keep_float,
            )
        return graph, marked(errors, graph)

    def headline(self, graph: bytes, *, literal: bool = False) -> float:
        """Judge a graph on the validation split."""
        run = OnnxEngine.from_file(graph, literal=literal).run
        return judge(self.job.skill, run, self.job.data, "validation")[self.job.skill.headline]
