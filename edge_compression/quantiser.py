"""Eight-bit engines of all models of a candidate, within the recipe's limits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, get_args

from edge_compression.calibration import Method, calibrate, network_inputs, saturated
from edge_compression.console import note
from edge_compression.export import check_against_torch, export
from edge_compression.fp16 import to_fp16
from edge_compression.limits import over_limit
from edge_compression.mixed_precision import protect
from edge_compression.quantisation import quantise
from edge_compression.tensor_errors import marked, tensor_errors
from edge_compression.tensorrt_rules import violations
from edge_compression.variants import TENSORRT, Candidate, GraphFile, path_of
from edge_compression.widening import widened
from edge_runtime.errors import EngineError, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn

    from edge_compression.calibration import Calibration
    from edge_compression.job import Job
    from edge_compression.protocol import Arrays
    from edge_compression.quantisation import Flavour
    from edge_compression.recipe import QuantiseSettings
    from edge_compression.results import TensorError

_FILES: dict[Flavour, str] = {"cpu": "cpu.onnx", "arm": "arm.onnx", "trt": TENSORRT}


@dataclass(frozen=True)
class Quantiser:
    """Quantises the models of a float candidate as the recipe wishes.

    Attributes:
        last: the float candidate.
        inputs: of the calibration, by model.
        calibrations: by method of finding ranges, then by model.
        keep_float: tensors that are not quantised, by model.
    """

    job: Job
    settings: QuantiseSettings
    last: Candidate
    inputs: Mapping[str, list[Arrays]]
    calibrations: Mapping[Method, Mapping[str, Calibration]]
    keep_float: Mapping[str, tuple[str, ...]]
    _errors: dict[tuple[Method, Flavour, str], list[TensorError]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, job: Job, settings: QuantiseSettings, last: Candidate, network: nn.Module
    ) -> Quantiser:
        """Calibrate the models of a network's candidate, with zero-padded channels where they help.

        Raises:
            SettingError: the calibration data, `keep_float` or `saturate` is refused.
        """
        _require_models("saturate", settings.saturate, last.models)
        keep_float = _by_model(settings, last.models)
        inputs = network_inputs(job, network, settings)
        methods: tuple[Method, ...] = (
            get_args(Method) if settings.method == "best" else (settings.method,)
        )
        calibrations: dict[Method, dict[str, Calibration]] = {method: {} for method in methods}
        for name, model in last.models.items():
            graph = last.graphs[name].content
            wider = widened(job.skill, network, last.data, name)
            if wider is not None:
                graph = export(wider)
                check_against_torch(graph, model)
            for method in methods:
                calibration = calibrate(graph, inputs[name], method)
                largest = settings.saturate.get(name, {})
                calibrations[method][name] = saturated(calibration, largest)
        return cls(job, settings, last, inputs, calibrations, keep_float)

    def half(self) -> dict[str, bytes]:
        """Return graphs in half precision; what was seen in them is the same by every method."""
        calibrations = next(iter(self.calibrations.values()))
        return {name: to_fp16(each.graph, each.extremes) for name, each in calibrations.items()}

    def make(self, name: str, method: Method, flavour: Flavour) -> Candidate:
        """Return the candidate in eight bits. Models that cannot be quantised stay in float.

        Raises:
            EngineError: no model can be, or the recipe's limits are not met.
            SettingError: the recipe names a tensor that a graph has not.
        """
        calibrations, failures = dict(self.calibrations[method]), {}
        for model, calibration in self.calibrations[method].items():
            try:
                self._checked(calibration, method, flavour, model)
            except EngineError as error:  # noqa: PERF203 - a few turns
                failures[model] = str(error)
                del calibrations[model]
        if not calibrations:
            raise EngineError("; ".join(failures.values()))
        for model, reason in failures.items():
            note(f"{name}: {model} stays in float: {reason}")

        def candidate(graphs: Mapping[str, bytes]) -> Candidate:
            files = {
                model: GraphFile(path_of(model, self.last.models, _FILES[flavour]), "int8", graph)
                for model, graph in graphs.items()
            }
            graph_files = {**self.last.graphs, **files}
            return Candidate(name, "int8", graph_files, self.last.models, self.last.data)

        graphs = {
            model: quantise(calibration, flavour, self.keep_float.get(model, ()))
            for model, calibration in calibrations.items()
        }
        if not self.settings.limits:
            return candidate(graphs)
        reference = self.last.evaluate(self.job.evaluations, "validation")

        def reasons(graphs: Mapping[str, bytes]) -> str:
            found = candidate(graphs).evaluate(self.job.evaluations, "validation")
            return over_limit(self.settings.limits, reference, found)

        errors = {model: self._errors[method, flavour, model] for model in calibrations}
        graphs, _ = protect(calibrations, flavour, errors, reasons, keep_float=self.keep_float)
        for graph in graphs.values():
            _check(graph, flavour)
        return candidate(graphs)

    def renamed(self, candidate: Candidate, name: str, file: str) -> Candidate:
        """Return a candidate under another name, its eight-bit graphs under another file's."""
        graphs = {
            model: replace(graph, file=path_of(model, candidate.models, file))
            if graph.precision == "int8"
            else graph
            for model, graph in candidate.graphs.items()
        }
        return replace(candidate, name=name, graphs=graphs)

    def errors(
        self, candidate: Candidate, method: Method, flavour: Flavour
    ) -> dict[str, list[TensorError]]:
        """Return what quantising did to each tensor, by file."""
        return {
            graph.file: marked(
                self._errors[method, flavour, model],
                graph.content,
                self.calibrations[method][model],
            )
            for model, graph in candidate.graphs.items()
            if graph.precision == "int8"
        }

    def _checked(
        self, calibration: Calibration, method: Method, flavour: Flavour, model: str
    ) -> None:
        """Measure the errors of a model's tensors, and see whether it can be quantised at all."""
        self._errors[method, flavour, model] = tensor_errors(
            calibration, flavour, self.inputs[model]
        )
        _check(quantise(calibration, flavour, self.keep_float.get(model, ())), flavour)


def _check(graph: bytes, flavour: Flavour) -> None:
    if flavour == "trt" and (broken := violations(graph)):
        message = f"{TENSORRT} breaks rules of TensorRT: {'; '.join(map(str, broken))}"
        raise EngineError(message)


def _require_models(key: str, wanted: Iterable[str], models: Mapping[str, object]) -> None:
    if unknown := [name for name in wanted if name not in models]:
        message = f"quantise.{key}: there is no model '{unknown[0]}'; there are {', '.join(models)}"
        raise SettingError(message)


def _by_model(
    settings: QuantiseSettings, models: Mapping[str, object]
) -> dict[str, tuple[str, ...]]:
    """Return `keep_float` by model.

    Raises:
        SettingError: it names no model where there are several, or one that is not there.
    """
    wanted = settings.keep_float
    if isinstance(wanted, dict):
        _require_models("keep_float", wanted, models)
        return wanted
    if wanted and len(models) > 1:
        message = (
            f"quantise.keep_float: give a list of tensors for each of the models "
            f"{', '.join(models)}, such as {{{next(iter(models))}: [...]}}"
        )
        raise SettingError(message)
    return dict.fromkeys(models, wanted) if wanted else {}
