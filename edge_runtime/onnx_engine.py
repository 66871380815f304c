"""Engines by ONNX Runtime: on the processor (`cpu`) and on an NVIDIA GPU (`cuda`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from edge_runtime.bundle import TensorSpec
from edge_runtime.errors import EngineError, SettingError
from edge_runtime.host import describe_host
from edge_runtime.signature import check_inputs, check_promise, shown_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_runtime.bundle import Bundle, Shape

# The flavour for Arm runs anywhere, though slower; so does half precision.
_CPU_FILES = ("cpu.onnx", "fp32.onnx", "arm.onnx", "fp16.onnx")
_CUDA_FILES = ("fp16.onnx", "fp32.onnx")
_EXECUTION_PROVIDERS: dict[str, list[Any]] = {
    "cpu": ["CPUExecutionProvider"],
    # The default, an exhaustive search of convolution algorithms, stalls the first frames.
    "cuda": [("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"})],
}
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}
_WARM_UP_SIZE = 64
_LOG_FATAL = 4


class OnnxEngine:
    """A graph in an ONNX Runtime session, behind the `Engine` protocol."""

    def __init__(
        self,
        session: ort.InferenceSession,
        threads: int,
        description: dict[str, str],
        example: Mapping[str, Shape],
    ) -> None:
        """Wrap an open session; `from_file` and `open_engine` make one."""
        self.inputs = [_spec(node) for node in session.get_inputs()]
        self.outputs = [_spec(node) for node in session.get_outputs()]
        self._session = session
        self._example = example
        self._names = [spec.name for spec in self.outputs]
        self._description = {
            **description,
            "threads": str(threads),
            "library": f"onnxruntime {ort.__version__}",
        }

    @classmethod
    def from_file(
        cls,
        graph: Path | bytes,
        provider: str = "cpu",
        threads: int = 0,
        precision: str = "unknown",
        *,
        literal: bool = False,
        example: Mapping[str, Shape] | None = None,
    ) -> OnnxEngine:
        """Open one ONNX graph, given as file or as its content.

        `example`: the shapes, by input, on which to warm up.
        `literal` computes every node as it stands there, nothing fused: quantised numbers become
        floats before they are added up. It is slow, and what faster kernels are checked against.

        Raises:
            SettingError: `provider` is not one of ONNX Runtime's here ("cpu", "cuda").
            EngineError: the provider is not available, or the graph cannot be loaded.

        """
        if provider not in _EXECUTION_PROVIDERS:
            msg = f"unknown provider {provider!r}: choose one of {', '.join(_EXECUTION_PROVIDERS)}"
            raise SettingError(msg)
        _require_available(provider)
        name = graph.name if isinstance(graph, Path) else "graph in memory"
        # An explicit number, because with 0 ONNX Runtime pins its threads to cores that the
        # executor's thread and other nodes need too.
        count = threads or len(os.sched_getaffinity(0))
        try:
            session = ort.InferenceSession(
                str(graph) if isinstance(graph, Path) else graph,
                _options(count, literal=literal),
                providers=_EXECUTION_PROVIDERS[provider],
            )
        except Exception as error:  # ONNX Runtime's exceptions have no base of their own
            msg = f"{name} cannot be loaded by ONNX Runtime: {error}"
            raise EngineError(msg) from error
        if provider == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
            msg = "ONNX Runtime could not start CUDA: check the driver, CUDA and cuDNN versions"
            raise EngineError(msg)
        description = {"provider": provider, "precision": precision, "file": name}
        return cls(session, count, description, example or {})

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name; see `Engine.run`."""
        check_inputs(self._description["file"], self.inputs, inputs)
        try:
            results = self._session.run(self._names, dict(inputs))
        except Exception as error:  # ONNX Runtime's exceptions have no base of their own
            msg = f"{self._description['file']} failed on {shown_shapes(inputs)}: {error}"
            raise EngineError(msg) from error
        return dict(zip(self._names, results, strict=True))

    def warm_up(self) -> None:
        """Run once on zeros of the example's shapes; without one batch 1, other dimensions 64."""
        shapes = {spec.name: _warm_up_shape(spec) for spec in self.inputs} | dict(self._example)
        try:
            inputs = {spec.name: np.zeros(shapes[spec.name], spec.dtype) for spec in self.inputs}
        except (MemoryError, ValueError) as error:
            msg = f"{self._description['file']} cannot be tried out on {shapes}: {error}"
            raise EngineError(msg) from error
        self.run(inputs)

    def describe(self) -> dict[str, str]:
        """Return provider, precision, file, threads and library."""
        return dict(self._description)


def open_cpu(bundle: Bundle, threads: int, precision: str | None) -> OnnxEngine:
    """Open the engine that `compress build` found the fastest here, else the quantised one."""
    choice = bundle.manifest.choices.get(describe_host()["cpu"])
    files = _CPU_FILES if choice is None else (choice.file, *_CPU_FILES)
    return _open(bundle, "cpu", files, threads, precision)


def open_cuda(bundle: Bundle, threads: int, precision: str | None) -> OnnxEngine:
    """Open the bundle's engine on the GPU."""
    return _open(bundle, "cuda", _CUDA_FILES, threads, precision)


def _open(
    bundle: Bundle, provider: str, files: Sequence[str], threads: int, precision: str | None
) -> OnnxEngine:
    _require_available(provider)
    engines = bundle.manifest.engines
    usable = [
        name for name in files if name in engines and precision in {None, engines[name].precision}
    ]
    if not usable:
        has = ", ".join(f"{name} ({file.precision})" for name, file in engines.items()) or "none"
        wanted = " or ".join(files) + (f" in {precision}" if precision else "")
        msg = f"the bundle has no {wanted}, only {has}"
        raise EngineError(msg)
    name = usable[0]
    engine = OnnxEngine.from_file(
        bundle.path / name,
        provider,
        threads,
        engines[name].precision,
        example=bundle.manifest.example,
    )
    check_promise(name, bundle.manifest.inputs, engine.inputs)
    check_promise(name, bundle.manifest.outputs, engine.outputs)
    return engine


def _require_available(provider: str) -> None:
    if provider == "cuda" and "CUDAExecutionProvider" not in ort.get_available_providers():
        msg = "this ONNX Runtime has no CUDA: install onnxruntime-gpu in place of onnxruntime"
        raise EngineError(msg)


def _options(threads: int, *, literal: bool) -> ort.SessionOptions:
    options = ort.SessionOptions()
    if literal:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin between frames take the core on which the node receives the next message.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Failures arrive as exceptions; the library's own lines would only repeat them on stderr.
    options.log_severity_level = _LOG_FATAL
    return options


def _spec(node: ort.NodeArg) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else size or "?" for size in node.shape)
    return TensorSpec(name=node.name, shape=shape, dtype=_DTYPES.get(node.type, node.type))


def _warm_up_shape(spec: TensorSpec) -> Shape:
    return tuple(
        size if isinstance(size, int) else 1 if size == "batch" else _WARM_UP_SIZE
        for size in spec.shape
    )
