"""A bundle whose network is one convolution, made by hand: jaws beside what stands between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.bundle import EngineFile, Manifest, Model, Source, TensorSpec, write_bundle

if TYPE_CHECKING:
    from pathlib import Path

_REACH = 16  # cells: an open jaw


def write_grasp_bundle(target: Path, side: int = 112) -> Path:
    shapes = {"height": (1, 1, side, side), "q": (1, 32, side, side)}
    pads = [_REACH] * 4
    nodes = [
        helper.make_node("Conv", ["height", "kernels", "bias"], ["logits"], pads=pads),
        helper.make_node("Sigmoid", ["logits"], ["q"]),
    ]
    graph = helper.make_graph(
        nodes,
        "grasp",
        [helper.make_tensor_value_info("height", TensorProto.FLOAT, shapes["height"])],
        [helper.make_tensor_value_info("q", TensorProto.FLOAT, shapes["q"])],
        [
            numpy_helper.from_array(_kernels(), "kernels"),
            numpy_helper.from_array(np.repeat(np.float32([-4, -2]), 16), "bias"),
        ],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(network)
    content = network.SerializeToString()
    engine = {"precision": "fp32", "parameters": 0, "macs": 0, "bytes": len(content)}
    model = Model(
        inputs=[TensorSpec(name="height", shape=shapes["height"], dtype="float32", layout="NCHW")],
        outputs=[TensorSpec(name="q", shape=shapes["q"], dtype="float32", layout="NCHW")],
        engines={"fp32.onnx": EngineFile(**engine, accuracy={}, latency_ms={})},
    )
    source = Source(checkpoint_sha256="", recipe={}, recipe_sha256="", calibration="none")
    manifest = Manifest(
        skill="grasp",
        name="by_hand",
        models={"grasp": model},
        names=[],
        settings={},
        source=source,
        tools={},
        host={},
        created="2026-01-01T00:00:00+00:00",
    )
    return write_bundle(target, manifest, {"fp32.onnx": content}).path


def _kernels() -> np.ndarray:
    """A grasp is worth what is in the middle, less what is under the fingers; a push as little."""
    rows, columns = np.mgrid[-_REACH : _REACH + 1, -_REACH : _REACH + 1]
    kernels = np.zeros((32, 1, 2 * _REACH + 1, 2 * _REACH + 1), np.float32)
    for k in range(16):
        cosine, sine = np.cos(k * np.pi / 8), np.sin(k * np.pi / 8)
        across, along = columns * cosine + rows * sine, rows * cosine - columns * sine
        middle = (np.abs(across) <= 6) & (np.abs(along) <= 3)
        fingers = (np.abs(np.abs(across) - 14) <= 2) & (np.abs(along) <= 3)
        kernels[k, 0] = kernels[16 + k, 0] = 120 * (
            middle / middle.sum() - 2 * fingers / fingers.sum()
        )
    return kernels
