"""What the tensors of a graph reach on the calibration images; measured once, for all flavours."""

from __future__ import annotations

import contextlib
import difflib
import io
import logging
import math
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge_compression.concatenations import split_concatenations
from edge_compression.export import torch_runs
from edge_compression.training_state import weights_digest
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import BaseModel
    from torch import nn

    from edge_compression.job import Job
    from edge_compression.protocol import Arrays, CompressibleSkill, ExportModel, Run
    from edge_compression.recipe import QuantiseSettings

Method = Literal["minmax", "entropy", "percentile"]
Range = tuple[float, float]

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


@dataclass(frozen=True)
class Calibration:
    """A graph made ready for quantising, and what its tensors reach.

    Attributes:
        graph: constants and batch norms folded, every node named; float32, and with the names of
            the exported graph for what is left of it.
        ranges: lowest and highest value to represent, by activation; by the calibration's method.
        extremes: lowest and highest value that was seen.
    """

    graph: bytes
    ranges: Mapping[str, Range]
    extremes: Mapping[str, Range]


def calibration_inputs(
    skill: CompressibleSkill,
    models: Mapping[str, ExportModel],
    runs: Mapping[str, Run],
    data: BaseModel,
    settings: QuantiseSettings,
) -> dict[str, list[Arrays]]:
    """Take the inputs of every model from the skill's calibration.

    Raises:
        SettingError: it has fewer than the recipe asks for, or none for a model.
    """
    count = settings.calibration_images
    found: dict[str, list[Arrays]] = {name: [] for name in models}
    items = 0
    for item in skill.calibration(runs, data, count, settings.seed):
        items += 1
        for name, inputs in item.items():
            found[name].append(inputs)
    if items < count:
        message = (
            f"quantise.calibration_images = {count}, but the data has {items}: lower it, or give "
            "more images"
        )
        raise SettingError(message)
    if empty := [name for name, inputs in found.items() if not inputs]:
        message = (
            f"the calibration of '{skill.name}' has no inputs for {', '.join(empty)}: give more "
            "calibration_images"
        )
        raise SettingError(message)
    return found


def network_inputs(
    job: Job, network: nn.Module, settings: QuantiseSettings
) -> dict[str, list[Arrays]]:
    """Take the inputs that the recipe's data gives a network, once for the same weights.

    Raises:
        SettingError: see `calibration_inputs`.
    """
    weights = weights_digest(network)
    if weights not in job.calibrations:
        models = job.skill.models(network.eval(), job.data)
        job.calibrations[weights] = calibration_inputs(
            job.skill, models, torch_runs(models), job.data, settings
        )
    return job.calibrations[weights]


def calibrate(graph: bytes, images: Sequence[Arrays], method: Method) -> Calibration:
    """Prepare the graph and observe all its activations on the images.

    Args:
        graph: the float32 ONNX graph.
        images: inputs by name.
        method: how a range is found from what was observed. minmax: all of it; entropy: the part
            whose histogram tells most about the whole; percentile: all but the outermost 0.001 %.

    Raises:
        SettingError: an image or an activation is not finite.
    """
    _require_finite(images)
    with tempfile.TemporaryDirectory() as folder, quiet():
        source, prepared = Path(folder, "source.onnx"), Path(folder, "prepared.onnx")
        source.write_bytes(graph)
        # Folds constants and batch norms, and finds the shapes that the quantiser asks for.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
        split_concatenations(model)
        model = _tidy(model)
        onnx.save(model, prepared)
        extremes = _observe(prepared, images, "minmax")
        for tensor, values in extremes.items():
            if not all(math.isfinite(value) for value in values):
                message = (
                    f"tensor '{tensor}' reaches {values[0]:g} and {values[1]:g} on the calibration "
                    "images: look for bad values in the data or in the checkpoint"
                )
                raise SettingError(message)
        ranges = extremes if method == "minmax" else _observe(prepared, images, method)
    return Calibration(model.SerializeToString(), ranges, extremes)


def saturated(calibration: Calibration, largest: Mapping[str, float]) -> Calibration:
    """Return it with ranges that end at a magnitude, by activation.

    Raises:
        SettingError: the graph has no such activation.
    """
    for name in largest:
        if name not in calibration.ranges:
            close = difflib.get_close_matches(name, sorted(calibration.ranges), cutoff=0.3)
            message = (
                f"quantise.saturate: the exported graph has no activation '{name}'; close to it "
                f"are {', '.join(close) or 'none'}: correct the name, or leave it out"
            )
            raise SettingError(message)
    within = {
        name: (max(low, -largest[name]), min(high, largest[name]))
        for name, (low, high) in calibration.ranges.items()
        if name in largest
    }
    return replace(calibration, ranges={**calibration.ranges, **within})


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's progress out of our standard output, and its advice out of our log."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)


def _require_finite(images: Sequence[Arrays]) -> None:
    # The library looks for lowest and highest values by comparing, which passes over NaN.
    for number, image in enumerate(images):
        for name, values in image.items():
            if not np.isfinite(values).all():
                message = (
                    f"calibration image {number} has values in '{name}' that are not finite: look "
                    "for bad values in the data"
                )
                raise SettingError(message)


def _tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Name all nodes, because they are left out by name, and drop operator sets nobody uses."""
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_unnamed_{number}"
    used = {"" if node.domain == "ai.onnx" else node.domain for node in model.graph.node} | {""}
    imports = [item for item in model.opset_import if item.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(imports)
    return model


def _observe(graph: Path, images: Sequence[Arrays], method: Method) -> dict[str, Range]:
    calibrator = create_calibrator(
        graph,
        augmented_model_path=str(graph.with_name("augmented.onnx")),
        calibrate_method=_METHODS[method],
    )
    # One image at a time, because the library keeps every activation of those it is given.
    for image in images:
        calibrator.collect_data(_Reader(image))
    found = calibrator.compute_data()
    # In the graph's order, because the library's changes from run to run.
    model = onnx.load(graph).graph
    order = [item.name for item in model.input]
    order.extend(name for node in model.node for name in node.output)
    return {
        tensor: (found[tensor].range_value[0].item(), found[tensor].range_value[1].item())
        for tensor in order
        if tensor in found
    }


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands out one image as the calibrators of ONNX Runtime ask for it."""

    def __init__(self, image: Arrays) -> None:
        self._rest = iter([image])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._rest, None)
