"""A tiny bundle: one ReduceMean, so that what is tested is the road and not the network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import TensorProto, helper

from edge_runtime.bundle import EngineFile, Manifest, Model, Source, TensorSpec, write_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

# pytest's importlib mode does not find the helpers that lie beside the tests.
sys.path.insert(0, str(Path(__file__).parent))

SHAPE = ("batch", "height", "width", 3)


def build_graph() -> bytes:
    node = helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0)
    graph = helper.make_graph(
        [node],
        "mean",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, ("batch",))],
    )
    return _model(graph)


def _model(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def build_manifest(**changes: object) -> Manifest:
    """Describe the bundle, with changes to it or to its one model."""
    graph = build_graph()
    engine = {"precision": "fp32", "parameters": 0, "macs": 0, "bytes": len(graph)}
    model = {
        "inputs": [TensorSpec(name="image", shape=SHAPE, dtype="float32", layout="NHWC")],
        "outputs": [TensorSpec(name="mean", shape=("batch",), dtype="float32")],
        "engines": {"fp32.onnx": EngineFile(**engine, accuracy={}, latency_ms={})},
    }
    model |= {key: changes.pop(key) for key in Model.model_fields if key in changes}
    fields = {
        "skill": "brightness",
        "name": "mean",
        "models": {"brightness": model},
        "names": [],
        "settings": {},
        "source": Source(checkpoint_sha256="", recipe={}, recipe_sha256="", calibration="none"),
        "tools": {},
        "host": {},
        "created": "2025-01-01T00:00:00+00:00",
    }
    return Manifest.model_validate({**fields, **changes})


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; the folder of the bundles in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "compressed_grasp" / "bundles"


@pytest.fixture
def mean_graph() -> bytes:
    return build_graph()


@pytest.fixture
def dazzled_graph() -> bytes:
    """The mean up to 150, NaN above."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["level"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Sub", ["most", "level"], ["left"]),
        helper.make_node("Sqrt", ["left"], ["nan"]),
        helper.make_node("Mul", ["nan", "none"], ["zero"]),
        helper.make_node("Add", ["level", "zero"], ["mean"]),
    ]
    numbers = {"most": 150.0, "none": 0.0}
    return _model(
        helper.make_graph(
            nodes,
            "dazzled",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, SHAPE)],
            [helper.make_tensor_value_info("mean", TensorProto.FLOAT, ("batch",))],
            [helper.make_tensor(n, TensorProto.FLOAT, (), [v]) for n, v in numbers.items()],
        )
    )


@pytest.fixture
def loop_graph() -> bytes:
    """One step of a loop over edges: next_net = net + inp, and its sum for each edge."""
    nodes = [
        helper.make_node("Add", ["net", "inp"], ["next_net"]),
        helper.make_node("ReduceSum", ["next_net", "axes"], ["sum"], keepdims=0),
    ]
    edges = ("edges", 4)
    return _model(
        helper.make_graph(
            nodes,
            "loop",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, edges) for n in ("net", "inp")],
            [
                helper.make_tensor_value_info("next_net", TensorProto.FLOAT, edges),
                helper.make_tensor_value_info("sum", TensorProto.FLOAT, edges[:1]),
            ],
            [helper.make_tensor("axes", TensorProto.INT64, (1,), [1])],
        )
    )


@pytest.fixture
def make_manifest() -> Callable[..., Manifest]:
    return build_manifest


@pytest.fixture
def bundle_path(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", build_manifest(), {"fp32.onnx": build_graph()}).path
