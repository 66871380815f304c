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
from edge_compression.widening import widened
from edge_runtime.errors import EngineError
from edge_runtime.onnx_engine import OnnxEngine

if TYPE_CHECKING:
    from pydantic import BaseModel
    from torch import nn

    from edge_compression.calibration import Calibration
    from edge_compression.job import Job
    from edge_compression.protocol import Arrays
    from edge_compression.quantisation import Flavour
    from edge_compression.recipe import QuantiseSettings
    from edge_compression.results import TensorError

    _Quantised = tuple[bytes, list[TensorError]]

FP32 = "fp32.onnx"
FP16 = "fp16.onnx"
INT8: dict[Flavour, str] = {"cpu": "cpu.onnx", "arm": "arm.onnx", "trt": TENSORRT}
_ELSEWHERE: dict[Flavour, str] = {"arm": "for Arm", "trt": "for TensorRT"}


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

    Where the network or what it sees is lessened, the one that came is exported, too, at its own
    size: all others are compared with it. One in half precision or in eight bits that cannot be
    made is noted as a failure, and the others are made.

    Raises:
        SuiteError: an exported graph is wrong, or the calibration data or a setting is refused.
    """
    recipe = job.recipe.recipe
    made = Engines()
    whole = job.skill.uncompressed(job.data)
    if smaller is None and whole == job.data:
        last = _float(job, made, "fp32", FP32, network=original, data=job.data)
    else:
        _float(job, made, "original fp32", UNPRUNED, network=original, data=whole)
        change = "resized" if smaller is None else "tuned" if recipe.prune is None else "pruned"
        network = smaller or original
        last = _float(job, made, f"{change} fp32", FP32, network=network, data=job.data)
    workshop = None if recipe.quantise is None else _workshop(job, recipe.quantise, last)
    if recipe.fp16:
        name = last.name.replace("fp32", "fp16")
        try:
            graph = to_fp16(last.graph, {}) if workshop is None else workshop.half()
        except EngineError as error:
            made.failures[name] = str(error)
        else:
            made.candidates.append(Candidate(name, FP16, "fp16", graph, last.network, last.data))
    if workshop is not None:
        _quantised(made, last, workshop)
    return made


def _float(
    job: Job, made: Engines, name: str, file: str, *, network: nn.Module, data: BaseModel
) -> Candidate:
    say(f"exporting {name}")
    inputs, interface = job.skill.example_inputs(data), job.skill.interface(data)
    graph = export(network, inputs, interface)
    made.differences[name] = check_against_torch(graph, network, inputs, interface)
    candidate = Candidate(name, file, "fp32", graph, network, data)
    made.candidates.append(candidate)
    return candidate


def _workshop(job: Job, settings: QuantiseSettings, last: Candidate) -> _Workshop:
    say(f"quantising with {settings.calibration_images} images")
    inputs, interface = job.skill.example_inputs(job.data), job.skill.interface(job.data)
    images = calibration_images(job.skill, job.data, settings, list(inputs))
    wider, graph = widened(job.skill, last.network, inputs), last.graph
    if wider is not last.network:
        graph = export(wider, inputs, interface)
        check_against_torch(graph, last.network, inputs, interface)
    methods: tuple[Method, ...] = (
        get_args(Method) if settings.method == "best" else (settings.method,)
    )
    calibrations = {method: calibrate(graph, images, method) for method in methods}
    return _Workshop(job, settings, last, images, calibrations)


def _quantised(made: Engines, last: Candidate, workshop: _Workshop) -> None:
    tried: dict[Method, _Quantised] = {}
    failed: dict[Method, str] = {}
    validated: dict[Method, float] = {}
    for method in workshop.calibrations:
        try:
            quantised = workshop.make(method, "cpu")
            validated[method] = workshop.headline(quantised[0])
            tried[method] = quantised
        except EngineError as error:  # noqa: PERF203 - three turns
            failed[method] = str(error)
    # A headline without a value, which no comparison is true of, is the worst.
    best = max(
        tried,
        key=lambda method: (validated[method] > -math.inf, validated[method]),
        default=next(iter(workshop.calibrations)),
    )
    kind = last.name.replace("fp32", "int8")
    for method in workshop.calibrations:
        name, file = kind, INT8["cpu"]
        if method != best:
            name, file = f"{kind} {method}", f"variants/{method}.onnx"
        if method in failed:
            made.failures[name] = failed[method]
            continue
        graph, errors = tried[method]
        made.candidates.append(Candidate(name, file, "int8", graph, last.network, last.data))
        if method == best:
            made.tensors[file] = errors
        else:
            made.failures[name] = (
                f"ranges by {best} were chosen: {validated[best]:.4f} on the validation split, "
                f"here {validated[method]:.4f}"
            )
    for flavour, where in _ELSEWHERE.items():
        name, file = f"{kind} {where}", INT8[flavour]
        try:
            graph, errors = workshop.make(best, flavour)
        except EngineError as error:
            made.failures[name] = str(error)
            continue
        made.candidates.append(Candidate(name, file, "int8", graph, last.network, last.data))
        made.tensors[file] = errors


@dataclass(frozen=True)
class _Workshop:
    """Quantises one graph as the recipe wishes."""

    job: Job
    settings: QuantiseSettings
    last: Candidate
    images: list[Arrays]
    calibrations: dict[Method, Calibration]

    def half(self) -> bytes:
        """Return the graph in half precision; what was seen in it is the same by every method."""
        calibration = next(iter(self.calibrations.values()))
        return to_fp16(calibration.graph, calibration.extremes)

    def make(self, method: Method, flavour: Flavour) -> _Quantised:
        """Return the graph, and what it does to each tensor.

        Raises:
            EngineError: it cannot be made, is not within the recipe's limit, or breaks a rule of
                TensorRT.
            SettingError: the recipe names a tensor that the graph has not.
        """
        settings, calibration = self.settings, self.calibrations[method]
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
        if flavour == "trt" and (broken := violations(graph)):
            message = f"{TENSORRT} breaks rules of TensorRT: {'; '.join(map(str, broken))}"
            raise EngineError(message)
        return graph, marked(errors, graph, calibration)

    def headline(self, graph: bytes, *, literal: bool = False) -> float:
        """Judge a graph on the validation split."""
        run = OnnxEngine.from_file(graph, literal=literal).run
        return judge(self.job.skill, run, self.job.data, "validation")[self.job.skill.headline]
