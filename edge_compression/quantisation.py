"""Static INT8 quantisation of an ONNX graph, in three flavours from one calibration."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode

from edge_compression.byte_weights import keep_in_bytes
from edge_compression.calibration import quiet
from edge_compression.float_readers import spare_float_readers
from edge_compression.fp16 import halve, unfit
from edge_compression.gates import gate_sums, gate_terms
from edge_compression.shallow import pool_first, shallow_convolutions
from edge_compression.tensorrt_graph import (
    OPERATORS,
    OPTIONS,
    fuse_sums,
    raise_opset,
    sums_with_constants,
)
from edge_runtime.errors import EngineError, SettingError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from edge_compression.calibration import Calibration, Range

Flavour = Literal["cpu", "arm", "trt"]


@dataclass(frozen=True)
class _Scheme:
    """What ONNX Runtime's quantiser is told of a flavour."""

    activations: QuantType
    operators: list[str]
    options: dict[str, Any]


# Sigmoid, Softmax and Tanh stay in float: eight bits are too coarse for their tails.
_CPU_OPERATORS = [
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
_CPU = _Scheme(QuantType.QUInt8, _CPU_OPERATORS, {})
_ARM = _Scheme(QuantType.QInt8, _CPU_OPERATORS, {})
_TENSORRT = _Scheme(QuantType.QInt8, OPERATORS, OPTIONS)


def quantise(calibration: Calibration, flavour: Flavour, keep_float: Collection[str] = ()) -> bytes:
    """Return the graph with Q/DQ pairs; its inputs and outputs stay float32.

    cpu, for ONNX Runtime on x86: U8 activations, S8 weights per channel, S32 biases.
    Convolutions of few channels, such as the one that reads the image, stay in float: ONNX
    Runtime's eight-bit kernels are several times as slow as its float ones there. The weights of
    what stays in float are kept in bytes all the same; see `byte_weights`.

    arm, for ONNX Runtime on Arm, whose kernels multiply numbers of the same type: as cpu, but with
    S8 activations. They keep their zero points; without, every Relu would be a float operator
    between two pairs.

    trt, for TensorRT: S8 throughout, symmetric, and FP16 where nothing is quantised, or
    float32 where FP16 would not do; see `tensorrt_graph` and `fp16`. ONNX Runtime can run it, too,
    slowly, to tell its accuracy.

    Args:
        calibration: of the float32 graph.
        flavour: for which run time.
        keep_float: tensors, activations or weights, that get no Q/DQ pair: the nodes that would
            have one there, at their inputs or outputs, are not quantised.

    Raises:
        SettingError: `keep_float` names a tensor that the graph has not.
        EngineError: the graph has something that cannot be quantised so.
    """
    model = onnx.load_from_string(calibration.graph)
    _check(model, keep_float)
    with quiet():
        if flavour == "trt":
            quantised = _for_tensorrt(model, calibration, keep_float)
        else:
            scheme = _CPU if flavour == "cpu" else _ARM
            quantised = _for_processor(model, calibration.ranges, scheme, keep_float)
            keep_in_bytes(quantised, keep_float)
    content: bytes = quantised.SerializeToString()
    return content


def _for_processor(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    scheme: _Scheme,
    keep_float: Collection[str],
) -> onnx.ModelProto:
    sums = gate_sums(model)
    shallow = shallow_convolutions(model)
    in_float = {*shallow, *_nodes_at(model, _with_clipped(model, keep_float))}
    terms = gate_terms(model, sums, ranges, in_float)
    writers = {name: node.name for node in model.graph.node for name in node.output}
    in_float |= set(sums) - {writers[name] for name in terms}
    pool_first(model, shallow)
    quantised = _insert_pairs(model, {**ranges, **terms}, scheme, sorted(in_float))
    others = {node.name for node in model.graph.node if node.op_type not in scheme.operators}
    spare_float_readers(quantised, in_float | others)
    return quantised


def _for_tensorrt(
    model: onnx.ModelProto, calibration: Calibration, keep_float: Collection[str]
) -> onnx.ModelProto:
    # Outputs have no pairs here, so that a tensor's producer may still be quantised.
    excluded = sums_with_constants(model) + gate_sums(model)
    excluded += _nodes_at(model, keep_float, outputs=False)
    single = unfit(model, calibration.extremes)
    excluded += _nodes_at(model, single)
    quantised = _insert_pairs(raise_opset(model), calibration.ranges, _TENSORRT, excluded)
    fuse_sums(quantised)
    return halve(quantised, single)


def _insert_pairs(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    scheme: _Scheme,
    excluded: list[str],
) -> onnx.ModelProto:
    observed = TensorsData(
        CalibrationMethod.MinMax,
        {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()},
    )
    arguments = {
        "model": onnx.shape_inference.infer_shapes(model),
        "per_channel": True,
        "reduce_range": False,
        "mode": QuantizationMode.QLinearOps,
        "static": True,
        "weight_qType": QuantType.QInt8,
        "activation_qType": scheme.activations,
        "tensors_range": observed,
        "nodes_to_quantize": [],
        "nodes_to_exclude": excluded,
        "op_types_to_quantize": scheme.operators,
        "extra_options": scheme.options,
    }
    # Older versions of the library ask for the mode, newer ones know only this one.
    known = inspect.signature(QDQQuantizer.__init__).parameters
    quantiser = QDQQuantizer(**{key: value for key, value in arguments.items() if key in known})
    try:
        quantiser.quantize_model()
    except Exception as error:  # whatever it stumbles over in a graph
        message = f"ONNX Runtime's quantiser cannot take the graph: {error}"
        raise EngineError(message) from error
    quantised: onnx.ModelProto = quantiser.model.model
    quantiser.model.topological_sort()
    return quantised


def _nodes_at(
    model: onnx.ModelProto, tensors: Collection[str], *, outputs: bool = True
) -> list[str]:
    """Name the nodes that read one of the tensors or, with `outputs`, write one."""
    return [
        node.name
        for node in model.graph.node
        if any(name in tensors for name in (*node.input, *(node.output if outputs else ())))
    ]


def _with_clipped(model: onnx.ModelProto, tensors: Collection[str]) -> set[str]:
    """Add what Relu and Clip make of the tensors or made them of: they share one pair."""
    found = set(tensors)
    for node in model.graph.node:
        if node.op_type in {"Relu", "Clip"} and found & {node.input[0], node.output[0]}:
            found |= {node.input[0], node.output[0]}
    return found


def _check(model: onnx.ModelProto, keep_float: Collection[str]) -> None:
    graph = model.graph
    known = {item.name for item in (*graph.input, *graph.initializer)}
    known.update(name for node in graph.node for name in node.output)
    for name in keep_float:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), cutoff=0.3)
            message = (
                f"quantise.keep_float: the exported graph has no tensor '{name}'; "
                f"close to it are {', '.join(close) or 'none'}: correct the name, or leave it out"
            )
            raise SettingError(message)
