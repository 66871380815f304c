"""Quantised and halved graphs: what is in them, and that they compute nearly the same."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from edge_compression.calibration import Calibration, Method, calibrate
from edge_compression.export import export
from edge_compression.fp16 import to_fp16
from edge_compression.mixed_precision import protect
from edge_compression.protocol import ExportModel
from edge_compression.quantisation import Flavour, quantise
from edge_compression.tensor_errors import marked, tensor_errors
from edge_runtime.bundle import TensorSpec
from edge_runtime.errors import EngineError, SettingError
from edge_runtime.onnx_engine import OnnxEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

INPUT = TensorSpec(name="image", shape=("batch", 3, "height", "width"), dtype="float32")
OUTPUT = TensorSpec(name="maps", shape=("batch", 2, "map_height", "map_width"), dtype="float32")
POOLED, INNER, SUM = "/MaxPool_output_0", "/Relu_1_output_0", "/Add_output_0"


class Residual(nn.Module):
    """A shallow convolution, Relu, pooling, resizing, and a sum right behind a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.shallow = nn.Conv2d(3, 24, 3, padding=1)
        self.inner = nn.Conv2d(24, 24, 3, padding=1)
        self.last = nn.Conv2d(24, 24, 3, padding=1)
        self.up = nn.ConvTranspose2d(24, 24, 2, stride=2)
        self.head = nn.Conv2d(24, 2, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.shallow(image)), 2)
        y = self.last(torch.relu(self.inner(x))) + x
        y = nn.functional.interpolate(torch.relu(y), scale_factor=2.0)
        result: torch.Tensor = self.head(self.up(y)).sigmoid()
        return result


class Loud(nn.Module):
    """In between it gets louder than FP16 can hold, though no constant is."""

    def __init__(self) -> None:
        super().__init__()
        self.quiet = nn.Conv2d(3, 16, 3, padding=1)
        self.loud = nn.Conv2d(16, 16, 3, padding=1)
        self.back = nn.Conv2d(16, 2, 3, padding=1, bias=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.back(torch.relu(self.loud(self.quiet(image))) * 1e3 * 1e3)
        return (torch.relu(result * 1e-3) * 1e-3).sigmoid()


def _exported(network: type[nn.Module]) -> bytes:
    torch.manual_seed(0)
    example = {"image": torch.rand(1, 3, 32, 32)}
    return export(ExportModel(network().eval(), [INPUT], [OUTPUT], [example]))


def _images(count: int) -> list[dict[str, NDArray[Any]]]:
    rng = np.random.default_rng(1)
    return [{"image": rng.random((1, 3, 32, 48), dtype=np.float32)} for _ in range(count)]


@pytest.fixture(scope="module")
def graph() -> bytes:
    return _exported(Residual)


@pytest.fixture(scope="module")
def calibration(graph: bytes) -> Calibration:
    return calibrate(graph, _images(4), "minmax")


class Parts:
    """A graph taken apart."""

    def __init__(self, graph: bytes) -> None:
        self.graph = onnx.load_from_string(graph).graph
        self.constants = {item.name: item for item in self.graph.initializer}
        self.nodes = {node.name: node for node in self.graph.node}
        self.writers = {name: node for node in self.graph.node for name in node.output}
        self.readers = defaultdict(list)
        for node in self.graph.node:
            for name in node.input:
                self.readers[name].append(node)

    def of(self, *kinds: str) -> list[onnx.NodeProto]:
        return [node for node in self.graph.node if node.op_type in kinds]

    def scale(self, tensor: str) -> float:
        quantiser = next(n for n in self.readers[tensor] if n.op_type == "QuantizeLinear")
        return float(numpy_helper.to_array(self.constants[quantiser.input[1]]))


def _difference(graph: bytes, other: bytes) -> float:
    image = _images(1)[0]
    found, expected = (OnnxEngine.from_file(each).run(image)["maps"] for each in (graph, other))
    return float(np.abs(found - expected).max())


@pytest.mark.parametrize("flavour", get_args(Flavour))
@pytest.mark.parametrize("method", get_args(Method))
def test_quantised_graphs_stay_close(graph: bytes, method: Method, flavour: Flavour) -> None:
    quantised = quantise(calibrate(graph, _images(6), method), flavour)

    assert 0 < _difference(quantised, graph) < 0.02


def test_the_processors_weights_are_signed_per_channel_and_activations_unsigned(
    calibration: Calibration,
) -> None:
    parts = Parts(quantise(calibration, "cpu"))

    # Few channels come in: in float, and pooled before the Relu.
    shallow = parts.nodes["/shallow/Conv"]
    assert shallow.input[0] == "image"
    assert [node.op_type for node in parts.readers[shallow.output[0]]] == ["MaxPool"]
    inner = parts.nodes["/inner/Conv"]
    weight = parts.writers[inner.input[1]]
    assert weight.op_type == "DequantizeLinear"
    assert parts.constants[weight.input[0]].data_type == TensorProto.INT8
    assert list(parts.constants[weight.input[1]].dims) == [24]
    activation = parts.writers[inner.input[0]]
    assert parts.constants[activation.input[2]].data_type == TensorProto.UINT8
    assert list(parts.constants[activation.input[1]].dims) == []
    sigmoid = parts.of("Sigmoid")[0]
    assert sigmoid.output[0] == parts.graph.output[0].name == "maps"


def test_arms_graph_is_the_processors_with_signed_numbers_and_fused(
    calibration: Calibration, tmp_path: Path
) -> None:
    quantised = quantise(calibration, "arm")
    parts = Parts(quantised)

    pairs = parts.of("QuantizeLinear", "DequantizeLinear")
    types = {parts.constants[node.input[2]].data_type for node in pairs}
    assert types == {TensorProto.INT8, TensorProto.INT32}
    assert {parts.constants[node.input[1]].data_type for node in pairs} == {TensorProto.FLOAT}
    bias = parts.writers[parts.nodes["/inner/Conv"].input[2]]
    assert parts.constants[bias.input[0]].data_type == TensorProto.INT32
    assert [node.name for node in parts.of("Relu")] == ["/Relu"]  # of the one in float
    assert _difference(quantised, quantise(calibration, "cpu")) < 2e-3
    # What TensorRT's flavour is not: one operator of ONNX Runtime's for all of a convolution.
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns that what is saved suits this machine alone
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    for flavour, fused in (("arm", True), ("trt", False)):
        graph = quantise(calibration, flavour)
        onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        made = Parts((tmp_path / "optimised.onnx").read_bytes())
        assert bool(made.of("QLinearConv")) == fused, flavour


def test_tensorrts_graph_is_symmetric_and_half_precision_inside(calibration: Calibration) -> None:
    quantised = quantise(calibration, "trt")
    parts = Parts(quantised)

    pairs = parts.of("QuantizeLinear", "DequantizeLinear")
    for node in pairs:
        zeros, scales = parts.constants[node.input[2]], parts.constants[node.input[1]]
        assert zeros.data_type == TensorProto.INT8
        assert not numpy_helper.to_array(zeros).any()
        assert scales.data_type == TensorProto.FLOAT16
    floats = [name for name, item in parts.constants.items() if item.data_type == TensorProto.FLOAT]
    assert [node.op_type for name in floats for node in parts.readers[name]] == ["Resize"]
    for node in parts.of("Conv", "ConvTranspose"):
        assert all(parts.writers[name].op_type == "DequantizeLinear" for name in node.input[:2])
        assert parts.constants[node.input[2]].data_type == TensorProto.FLOAT16
    for value in (*parts.graph.input, *parts.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    # The residual has a pair, the convolution's result comes straight into the sum.
    assert sorted(parts.writers[name].op_type for name in parts.of("Add")[0].input) == [
        "Conv",
        "DequantizeLinear",
    ]
    relu = parts.of("Relu")[0]
    assert parts.writers[relu.input[0]].op_type == "Conv"


def test_tensorrts_graph_keeps_tensorrts_rules(calibration: Calibration) -> None:
    rules = pytest.importorskip("edge_compression.tensorrt_rules")

    assert rules.violations(quantise(calibration, "trt")) == []
    assert rules.violations(quantise(calibration, "trt", [INNER])) == []
    assert rules.violations(quantise(calibration, "cpu")) != []


def test_all_flavours_come_from_one_calibration(calibration: Calibration) -> None:
    x86, arm, tensorrt = (Parts(quantise(calibration, flavour)) for flavour in get_args(Flavour))

    for tensor in (POOLED, INNER):  # which are never negative: one flavour has all of its grid
        assert calibration.ranges[tensor][0] == 0
        assert arm.scale(tensor) == x86.scale(tensor)
        ratio = tensorrt.scale(tensor) / x86.scale(tensor)
        assert ratio == pytest.approx(255 / 127, rel=1e-3)


@pytest.mark.parametrize("flavour", get_args(Flavour))
@pytest.mark.parametrize("tensor", [INNER, "last.weight"])
def test_a_tensor_kept_in_float_has_no_pair_beside_it(
    calibration: Calibration, flavour: Flavour, tensor: str
) -> None:
    errors = tensor_errors(calibration, flavour, _images(1))
    quantised = quantise(calibration, flavour, [tensor])
    parts = Parts(quantised)

    assert [node.name for node in parts.readers[tensor]] == ["/last/Conv"]
    weight = parts.nodes["/last/Conv"].input[1]
    if tensor == INNER and flavour != "trt":  # in bytes, and float for who reads it
        assert parts.writers[weight].op_type == "Mul"
    else:
        assert parts.constants[weight].data_type in {TensorProto.FLOAT, TensorProto.FLOAT16}
    if tensor == INNER:  # nor is it rounded just before its Relu
        assert parts.writers[parts.writers[tensor].input[0]].name == "/inner/Conv"
    kept = {row.tensor for row in marked(errors, quantised, calibration) if row.kept_float}
    assert tensor in kept
    assert kept < {row.tensor for row in errors}
    assert 0 < _difference(quantised, calibration.graph) < 0.02


def test_an_unknown_tensor_is_refused_with_its_neighbours(calibration: Calibration) -> None:
    with pytest.raises(SettingError, match=r"no tensor 'last.wieght'; close to it are last.weight"):
        quantise(calibration, "cpu", ["last.wieght"])


@pytest.mark.parametrize("flavour", get_args(Flavour))
def test_a_spoiled_range_shows_in_its_own_row_alone(
    calibration: Calibration, flavour: Flavour
) -> None:
    spoiled = replace(calibration, ranges={**calibration.ranges, INNER: (0.0, 100.0)})

    before, after = (tensor_errors(each, flavour, _images(2)) for each in (calibration, spoiled))
    assert {row.tensor for row in before} >= {POOLED, INNER, "inner.weight", "up.weight"}
    for old, new in zip(before, after, strict=True):
        assert old.low < old.high
        if old.tensor == INNER:
            assert new.high == pytest.approx(100, rel=1e-3)
            assert new.sqnr_db < old.sqnr_db - 20
        else:
            assert new == old
            assert 25 < old.sqnr_db < 60


def _protect(
    calibration: Calibration,
    flavour: Flavour,
    closeness: Callable[[bytes], float],
    floor: float,
    keep_float: tuple[str, ...] = (),
) -> tuple[bytes, list[str]]:
    """Protect the one model "a"."""

    def over_limit(graphs: Mapping[str, bytes]) -> str:
        found = closeness(graphs["a"])
        return "" if found >= floor else f"{found:.4f} is less than {floor:.4f}"

    errors = tensor_errors(calibration, flavour, _images(1))
    graphs, kept = protect(
        {"a": calibration}, flavour, {"a": errors}, over_limit, keep_float={"a": keep_float}
    )
    return graphs["a"], [tensor for _, tensor in kept]


@pytest.fixture
def closeness(calibration: Calibration) -> Callable[[bytes], float]:
    return lambda graph: 1 - _difference(graph, calibration.graph)


@pytest.mark.parametrize("flavour", get_args(Flavour))
def test_protection_finds_the_tensor_that_does_the_harm(
    calibration: Calibration, closeness: Callable[[bytes], float], flavour: Flavour
) -> None:
    floor = closeness(quantise(calibration, flavour)) - 1e-3
    wild = replace(calibration, ranges={**calibration.ranges, POOLED: (0.0, 300.0)})
    assert closeness(quantise(wild, flavour)) < floor

    graph, kept = _protect(wild, flavour, closeness, floor)

    assert closeness(graph) >= floor
    assert POOLED in kept
    assert len(kept) <= 3
    # Nothing is kept that need not be.
    graph, kept = _protect(calibration, flavour, closeness, floor)
    assert kept == []


def test_protection_that_cannot_help_says_so(
    calibration: Calibration, closeness: Callable[[bytes], float]
) -> None:
    with pytest.raises(EngineError, match=r"all tensors in float .* 1\.0000 is less than 1\.5000"):
        _protect(calibration, "cpu", closeness, 1.5)
    # In float the graph is the original: the highest floor that can be met.
    graph, kept = _protect(calibration, "cpu", closeness, 1 - 1e-6, (POOLED,))
    assert kept[0] == POOLED
    assert not Parts(graph).of("QuantizeLinear")


def test_half_precision_is_half_the_size_and_close(calibration: Calibration) -> None:
    half = to_fp16(calibration.graph, calibration.extremes)

    assert 0 < _difference(half, calibration.graph) < 1e-2
    assert len(half) < 0.6 * len(calibration.graph)
    parts = Parts(half)
    assert len(parts.of("Cast")) == 2
    for value in (*parts.graph.input, *parts.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT


@pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")
def test_what_half_precision_cannot_hold_stays_in_single() -> None:
    loud = calibrate(_exported(Loud), _images(3), "minmax")

    def difference(graph: bytes) -> float:
        # By ONNX's reference, because ONNX Runtime computes in single where it has no half.
        image = _images(1)[0]
        found, expected = (
            ReferenceEvaluator(onnx.load_from_string(each)).run(None, image)
            for each in (graph, loud.graph)
        )
        return float(np.abs(found[0] - expected[0]).max())

    assert not difference(to_fp16(loud.graph, {})) < 0.01
    assert difference(to_fp16(loud.graph, loud.extremes)) < 0.001
    quantised = quantise(loud, "trt")
    assert difference(quantised) < 0.01
    assert "/quiet/Conv" in {
        reader.name
        for node in Parts(quantised).of("DequantizeLinear")
        for reader in Parts(quantised).readers[node.output[0]]
    }


class Odd(nn.Module):
    """Has whole numbers cast to float ones in it, and numbers sorted in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 24, 3, padding=1)
        self.last = nn.Conv2d(24, 2, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(image))
        x = x - x.var(1, keepdim=True)
        result: torch.Tensor = self.last(x.topk(24, dim=1).values)
        return result


@pytest.mark.parametrize("flavour", get_args(Flavour))
def test_errors_are_told_of_tensors_behind_other_casts(flavour: Flavour) -> None:
    calibration = calibrate(_exported(Odd), _images(2), "minmax")

    rows = tensor_errors(calibration, flavour, _images(2))

    known = Parts(calibration.graph)
    assert {row.tensor for row in rows} <= {*known.writers, *known.constants, "image"}
    assert "/TopK_output_0" in {row.tensor for row in rows}


class Wide(Odd):
    """Its product of matrices has a bias of two dimensions, which the library's quantiser hates."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.ones(1, 8))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        means = self.first(image).mean((2, 3))
        mixed = torch.addmm(self.shift, means, self.last.weight.reshape(24, -1)[:, :8])
        return mixed[:, :2, None, None].expand(-1, -1, *image.shape[2:])


def test_what_the_quantiser_cannot_take_is_one_line() -> None:
    calibration = calibrate(_exported(Wide), _images(1), "minmax")
    with pytest.raises(EngineError, match="ONNX Runtime's quantiser cannot take the graph: "):
        quantise(calibration, "cpu")


def test_a_graph_that_has_no_half_precision_is_refused() -> None:
    model = onnx.load_from_string(_exported(Residual))
    model.graph.node[0].op_type = "Nonsense"

    with pytest.raises(EngineError, match="cannot be brought to half precision"):
        to_fp16(model.SerializeToString(), {})


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(graph: bytes, value: float, method: Method) -> None:
    images = _images(2)
    images[1]["image"][0, 0, 0, 0] = value
    with pytest.raises(SettingError, match="calibration image 1 has values in 'image' that are"):
        calibrate(graph, images, method)
    # Finite, but more than the network's sums can hold.
    glaring = {"image": np.full_like(images[0]["image"], 3e38)}
    with pytest.raises(
        SettingError, match=r"tensor '.*' reaches .*(inf|nan).* look for bad values"
    ):
        calibrate(graph, [glaring], method)
