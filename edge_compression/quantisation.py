"""Static INT8 quantisation of an ONNX graph, for ONNX Runtime on the processor."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import tempfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel

    from edge_compression.protocol import Arrays, CompressibleSkill
    from edge_compression.recipe import QuantiseSettings

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
# Sigmoid, Softmax and Tanh stay in float: eight bits are too coarse for their tails.
_QUANTISED = [
    "Add",
    "AveragePool",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Gemm",
    "GlobalAveragePool",
    "MatMul",
    "MaxPool",
    "Mul",
    "Relu",
    "Reshape",
    "Resize",
    "Transpose",
]
_ENOUGH = 8  # input channels; below, packing them for the byte kernels costs more than it saves


def quantise(graph: bytes, images: Sequence[Arrays], settings: QuantiseSettings) -> bytes:
    """Return the graph with Q/DQ pairs: U8 activations, S8 weights per channel, S32 biases.

    Convolutions of few channels, such as the one that reads the image, stay in float: ONNX
    Runtime's eight-bit kernels are several times as slow as its float ones there.

    Args:
        graph: the float32 ONNX graph.
        images: inputs by name, on which the activations' ranges are observed.
        settings: how a range is found from what was observed.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, prepared, target = (Path(folder, f"{name}.onnx") for name in ("a", "b", "c"))
        model = onnx.load_from_string(graph)
        shallow = _shallow_convolutions(model)
        _pool_first(model, shallow)
        onnx.save(model, source)
        # Folds constants and batch norms, and finds the shapes that the quantiser asks for.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            _Reader(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_QUANTISED,
            nodes_to_exclude=shallow,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=_METHODS[settings.method],
            # One image at a time, because the library keeps every activation of those it is given.
            extra_options={"CalibStridedMinMax": 1},
        )
        return target.read_bytes()


def calibration_images(
    skill: CompressibleSkill, data: BaseModel, settings: QuantiseSettings, names: Sequence[str]
) -> list[Arrays]:
    """Take the network's inputs from the skill's calibration split, one image each.

    Raises:
        SettingError: the split has fewer images than the recipe asks for.
    """
    stream = skill.batches(data, "calibration", 1, settings.seed, 0)
    images = [
        {name: batch[name].contiguous().numpy() for name in names}
        for batch in islice(stream, settings.calibration_images)
    ]
    if len(images) < settings.calibration_images:
        message = (
            f"quantise.calibration_images = {settings.calibration_images}, but the data has "
            f"{len(images)}: lower it, or give more images"
        )
        raise SettingError(message)
    return images


def _shallow_convolutions(model: onnx.ModelProto) -> list[str]:
    """Name the convolutions with too few input channels for eight bits to pay."""
    shapes = {weight.name: weight.dims for weight in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and shapes.get(node.input[1], [0, _ENOUGH])[1] < _ENOUGH
    ]


def _pool_first(model: onnx.ModelProto, convolutions: Sequence[str]) -> None:
    """Turn Relu -> MaxPool into MaxPool -> Relu behind these convolutions; the result is equal.

    ONNX Runtime moves quantisation up through a pooling, up to the Relu, and then pools bytes in
    a layout for which it has no fast kernel. It does not move it through the Relu.
    """
    nodes = model.graph.node
    outputs = {output.name for output in model.graph.output}

    def only_reader(name: str, kind: str) -> int | None:
        readers = [at for at, node in enumerate(nodes) if name in node.input]
        alone = len(readers) == 1 and name not in outputs and nodes[readers[0]].op_type == kind
        return readers[0] if alone else None

    for convolution in [node for node in nodes if node.name in convolutions]:
        first = only_reader(convolution.output[0], "Relu")
        second = None if first is None else only_reader(nodes[first].output[0], "MaxPool")
        if first is None or second is None:
            continue
        relu, pool = copy.deepcopy(nodes[first]), copy.deepcopy(nodes[second])
        pool.input[0], relu.input[0] = relu.input[0], relu.output[0]
        pool.output[0], relu.output[0] = relu.output[0], pool.output[0]
        nodes[first].CopyFrom(pool)
        nodes[second].CopyFrom(relu)
    # What is noted there about shapes may no longer be so; it is inferred again.
    model.graph.ClearField("value_info")


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands out inputs as the calibrators of ONNX Runtime ask for them."""

    def __init__(self, images: Sequence[Arrays]) -> None:
        self._images = images
        self._rest = iter(images)

    def __len__(self) -> int:
        return len(self._images)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._rest = iter(self._images[start_index:end_index])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._rest, None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's progress out of our standard output, and its advice out of our log."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
