"""The checker of TensorRT's rules, on one graph that keeps them and on graphs that break each."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from edge_compression.tensorrt_rules import violations

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RNG = np.random.default_rng(0)


class Images(CalibrationDataReader):
    def __init__(self) -> None:
        self.rest = iter([{"image": RNG.random((1, 8, 8, 8), np.float32)} for _ in range(4)])

    def get_next(self) -> dict[str, Any] | None:
        return next(self.rest, None)


def float_model() -> onnx.ModelProto:
    """Conv -> Relu -> ConvTranspose -> Softmax, and a Gemm on the mean of the maps."""

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(RNG.standard_normal(shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("ConvTranspose", ["r", "w2"], ["t"], name="up"),
        helper.make_node("Softmax", ["t"], ["maps"], name="softmax", axis=1),
        helper.make_node("GlobalAveragePool", ["r"], ["g"], name="mean"),
        helper.make_node("Flatten", ["g"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "w3"], ["score"], name="gemm", transB=1),
    ]
    weights = [weight("w1", 4, 8, 1, 1), weight("b1", 4), weight("w2", 4, 6, 1, 1)]
    weights.append(weight("w3", 5, 4))
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "network",
        [tensor("image", TensorProto.FLOAT, [1, 8, 8, 8])],
        [
            tensor("maps", TensorProto.FLOAT, [1, 6, 8, 8]),
            tensor("score", TensorProto.FLOAT, [1, 5]),
        ],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def quantised(folder: Path, **changes: object) -> onnx.ModelProto:
    """The way that is known to serve TensorRT, or with `changes`, one that is not."""
    source, target = folder / "float.onnx", folder / "quantised.onnx"
    onnx.save(float_model(), source)
    options = {"ActivationSymmetric": True, "AddQDQPairToWeight": True, "QuantizeBias": False}
    options["OpTypesToExcludeOutputQuantization"] = ["Conv", "ConvTranspose", "Gemm"]
    options["QDQOpTypePerChannelSupportToAxis"] = {"Conv": 0, "ConvTranspose": 1}
    arguments: dict[str, Any] = {
        "quant_format": QuantFormat.QDQ,
        "op_types_to_quantize": ["Conv", "ConvTranspose", "Gemm"],
        "per_channel": True,
        "activation_type": QuantType.QInt8,
        "weight_type": QuantType.QInt8,
        **changes,
    }
    options.update(arguments.pop("options", {}))
    quantize_static(source, target, Images(), extra_options=options, **arguments)
    return onnx.load(target)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    return quantised(tmp_path_factory.mktemp("good"))


def broken_rules(model: onnx.ModelProto) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for violation in violations(model.SerializeToString()):
        assert violation.node
        assert violation.remedy
        assert "\n" not in str(violation)
        found.setdefault(violation.rule, []).append(violation.node)
    return found


def node(model: onnx.ModelProto, kind: str, reader: str, place: int) -> onnx.NodeProto:
    """The Q or DQ of the pair in front of a node's input."""
    made_by = {output: item for item in model.graph.node for output in item.output}
    readers = {item.name: item for item in model.graph.node}
    found = made_by[readers[reader].input[place]]
    return found if found.op_type == kind else made_by[found.input[0]]


def constant(model: onnx.ModelProto, name: str, values: object, dtype: type) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), name))
    return name


def test_the_known_good_way_breaks_no_rule(good: onnx.ModelProto) -> None:
    assert any(item.op_type == "QuantizeLinear" for item in good.graph.node)
    assert broken_rules(good) == {}


def test_a_float_graph_breaks_no_rule() -> None:
    assert broken_rules(float_model()) == {}


def unsigned(model: onnx.ModelProto) -> None:
    for item in (node(model, kind, "conv", 0) for kind in ("QuantizeLinear", "DequantizeLinear")):
        item.input[2] = "u8"
    constant(model, "u8", 0, np.uint8)


def no_zero_point(model: onnx.ModelProto) -> None:
    for kind in ("QuantizeLinear", "DequantizeLinear"):
        del node(model, kind, "conv", 0).input[2]


def asymmetric(model: onnx.ModelProto) -> None:
    node(model, "QuantizeLinear", "conv", 0).input[2] = constant(model, "z", 3, np.int8)


def asymmetric_softmax(model: onnx.ModelProto) -> None:
    zero, scale = constant(model, "z", -128, np.int8), constant(model, "s", 1 / 256, np.float32)
    nodes = model.graph.node
    next(item for item in nodes if item.name == "softmax").output[0] = "p"
    nodes.extend(
        [
            helper.make_node("QuantizeLinear", ["p", scale, zero], ["q"], name="pq"),
            helper.make_node("DequantizeLinear", ["q", scale, zero], ["maps"], name="pd"),
        ]
    )


def zero_point_from_outside(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.INT8, []))
    node(model, "QuantizeLinear", "conv", 0).input[2] = "z"


def scale_of_zero(model: onnx.ModelProto) -> None:
    node(model, "QuantizeLinear", "conv", 0).input[1] = constant(model, "s", 0, np.float32)


def infinite_scale(model: onnx.ModelProto) -> None:
    name = constant(model, "s", np.inf, np.float32)
    node(model, "DequantizeLinear", "conv", 0).input[1] = name


def scale_from_outside(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("s", TensorProto.FLOAT, []))
    node(model, "QuantizeLinear", "conv", 0).input[1] = "s"


def half_scale(model: onnx.ModelProto) -> None:
    node(model, "QuantizeLinear", "conv", 0).input[1] = constant(model, "s", 0.1, np.float16)


def activation_per_channel(model: onnx.ModelProto) -> None:
    item = node(model, "QuantizeLinear", "conv", 0)
    item.input[1] = constant(model, "s", np.full(8, 0.1), np.float32)
    item.input[2] = constant(model, "z", np.zeros(8), np.int8)


def along(axis: int, reader: str, channels: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        scale = constant(model, "s", np.full(channels, 0.1), np.float32)
        zero = constant(model, "z", np.zeros(channels), np.int8)
        for kind in ("QuantizeLinear", "DequantizeLinear"):
            item = node(model, kind, reader, 1)
            item.input[1:] = [scale, zero]
            next(a for a in item.attribute if a.name == "axis").i = axis

    return change


def no_axis(model: onnx.ModelProto) -> None:
    node(model, "QuantizeLinear", "conv", 1).ClearField("attribute")


def unpaired(model: onnx.ModelProto) -> None:
    item = node(model, "QuantizeLinear", "conv", 0)
    model.graph.node.append(helper.make_node("Shape", [item.output[0]], ["size"], name="peek"))


def out_of_nowhere(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("bytes", TensorProto.INT8, [1, 8, 8, 8]))
    node(model, "DequantizeLinear", "conv", 0).input[0] = "bytes"


def float_weights(model: onnx.ModelProto) -> None:
    next(item for item in model.graph.node if item.name == "conv").input[1] = "w1"


def float_activations(model: onnx.ModelProto) -> None:
    next(item for item in model.graph.node if item.name == "conv").input[0] = "image"


def quantised_bias(model: onnx.ModelProto) -> None:
    item = next(item for item in model.graph.node if item.name == "conv")
    item.input[2] = "bias"
    numbers, scale = constant(model, "b32", [1, 2, 3, 4], np.int32), "bias_scale"
    constant(model, scale, 0.1, np.float32)
    pair = helper.make_node("DequantizeLinear", [numbers, scale], ["bias"], name="bias")
    model.graph.node.insert(0, pair)


def mixed_types(model: onnx.ModelProto) -> None:
    # Only this one: the checker must not need a graph whose other types fit.
    item = next(item for item in model.graph.node if item.name == "relu")
    item.op_type = "Add"
    item.input.append(constant(model, "half", 1, np.float16))


def more_scales_than_channels(model: onnx.ModelProto) -> None:
    along(0, "conv", 5)(model)


def whole_power(model: onnx.ModelProto) -> None:
    item = next(item for item in model.graph.node if item.name == "relu")
    item.op_type = "Pow"
    item.input.append(constant(model, "two", 2, np.int64))


def half_power(model: onnx.ModelProto) -> None:
    item = next(item for item in model.graph.node if item.name == "relu")
    item.op_type = "Pow"
    item.input.append(constant(model, "half", 2, np.float16))


def half_sum(model: onnx.ModelProto) -> None:
    half = constant(model, "half", np.ones((4, 4)), np.float16)
    make = helper.make_node("Gemm", [half, half], ["y"], name="half", alpha=0.5)
    model.graph.node.append(make)


def integer_operator(model: onnx.ModelProto) -> None:
    make = helper.make_node("DynamicQuantizeLinear", ["image"], ["y", "ys", "yz"], name="dynamic")
    model.graph.node.append(make)


def foreign_operator(model: onnx.ModelProto) -> None:
    make = helper.make_node("QGemm", ["image"], ["y"], name="own", domain="com.microsoft")
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node.append(make)


def invented_operator(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Invented", ["image"], ["y"], name="own"))


@pytest.mark.parametrize(
    ("change", "rule", "count"),
    [
        (unsigned, "quantised to UINT8", 2),
        (no_zero_point, "quantised to UINT8", 2),
        (asymmetric, "asymmetric", 1),
        (asymmetric_softmax, "asymmetric", 2),
        (zero_point_from_outside, "zero point that is not constant", 1),
        (scale_of_zero, "a scale that is 0", 1),
        (infinite_scale, "no finite number", 1),
        (scale_from_outside, "a scale that is not constant", 1),
        (half_scale, "FP16 and FP32 meet", 1),
        (activation_per_channel, "activations quantised per channel", 1),
        (along(1, "conv", 8), "weights of Conv quantised along axis 1, not 0", 2),
        (along(0, "up", 4), "weights of ConvTranspose quantised along axis 0, not 1", 2),
        (along(1, "gemm", 4), "weights of Gemm quantised along axis 1, not 0", 2),
        (no_axis, "no axis written", 1),
        (unpaired, "read by Shape", 1),
        (out_of_nowhere, "no QuantizeLinear", 1),
        (float_weights, "meet float weights", 1),
        (float_activations, "meet float activations", 1),
        (quantised_bias, "a quantised bias (S32)", 1),
        (quantised_bias, "a quantised bias", 2),
        (mixed_types, "FP16 and FP32 meet", 1),
        (more_scales_than_channels, "5 scales along axis 0 of [4, 8, 1, 1]", 2),
        (whole_power, "a power of or to a whole number", 1),
        (half_power, "FP16 and FP32 meet", 1),
        (half_sum, "alpha or beta of a Gemm in FP16", 1),
        (integer_operator, "an operator on integers", 1),
        (foreign_operator, "of the domain com.microsoft", 1),
        (invented_operator, "that ONNX does not have", 1),
    ],
)
def test_each_rule_is_seen_when_it_is_broken(
    good: onnx.ModelProto, change: Callable[[onnx.ModelProto], None], rule: str, count: int
) -> None:
    model = copy.deepcopy(good)
    change(model)
    found = broken_rules(model)
    assert sum(len(nodes) for name, nodes in found.items() if rule in name) == count, found


def test_the_offender_is_named_with_what_helps(good: onnx.ModelProto) -> None:
    model = copy.deepcopy(good)
    asymmetric_softmax(model)
    found = violations(model.SerializeToString())
    assert found[0].node == "QuantizeLinear 'pq'"
    assert found[0].remedy == "leave Softmax in float"


@pytest.mark.parametrize("opset", [12, 21])
def test_operator_sets_that_some_tensorrt_does_not_read(good: onnx.ModelProto, opset: int) -> None:
    model = copy.deepcopy(good)
    model.opset_import[0].version = opset
    assert [violation.node for violation in violations(model.SerializeToString())] == ["graph"]


def test_what_onnx_runtime_makes_for_the_processor_is_refused(tmp_path: Path) -> None:
    for_cpu = quantised(
        tmp_path,
        activation_type=QuantType.QUInt8,
        options={"ActivationSymmetric": False, "AddQDQPairToWeight": False, "QuantizeBias": True},
    )
    rules = set(broken_rules(for_cpu))
    assert {"a quantised bias (S32)", "quantised to UINT8, not to INT8"} <= rules


def test_a_transposed_weight_keeps_its_axis() -> None:
    """As torch's Linear is exported: weights (out, in) quantised along 0, then transposed."""
    weights = RNG.standard_normal((5, 8)).astype(np.float32)

    def model(axis: int, channels: int) -> onnx.ModelProto:
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
            helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
            helper.make_node("QuantizeLinear", ["w", "ws", "wz"], ["wq"], axis=axis),
            helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["wd"], axis=axis),
            helper.make_node("Transpose", ["wd"], ["wt"], perm=[1, 0]),
            helper.make_node("MatMul", ["xd", "wt"], ["y"], name="matmul"),
        ]
        constants = {
            "s": np.float32(0.1),
            "z": np.int8(0),
            "w": weights,
            "ws": np.full(channels, 0.1, np.float32),
            "wz": np.zeros(channels, np.int8),
        }
        tensor = helper.make_tensor_value_info
        graph = helper.make_graph(
            nodes,
            "linear",
            [tensor("x", TensorProto.FLOAT, [1, 8])],
            [tensor("y", TensorProto.FLOAT, [1, 5])],
            [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])

    assert broken_rules(model(0, 5)) == {}
    assert list(broken_rules(model(1, 8))) == ["weights of MatMul quantised along axis 0, not 1"]
