"""Engines by ONNX Runtime: on the processor (`cpu`) and on an NVIDIA GPU (`cuda`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from edge_runtime.bundle import TensorSpec
from edge_runtime.device_array import on_processor
from edge_runtime.device_cache import device_name, known_choice
from edge_runtime.errors import EngineError, SettingError
from edge_runtime.host import describe_host
from edge_runtime.signature import (
    check_against_manifest,
    check_input,
    check_inputs,
    check_kept,
    largest_first,
    shown_shapes,
    zeros,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_runtime.bundle import Bundle
    from edge_runtime.device_array import DeviceArray, Tensor
    from edge_runtime.findings import Shape

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
    """A graph in an ONNX Runtime session, behind the `Engine` protocol.

    Sessions take several threads. Memory comes from the library's arena, which keeps it: what the
    largest shapes have needed does for all others.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        threads: int,
        description: dict[str, str],
        examples: Sequence[Mapping[str, Shape]],
    ) -> None:
        """Wrap an open session; `from_file` and `open_engines` make one."""
        self.inputs = [_spec(node) for node in session.get_inputs()]
        self.outputs = [_spec(node) for node in session.get_outputs()]
        self._session: ort.InferenceSession | None = session
        self._device = description["provider"]
        self._examples = largest_first(examples)
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
        disable_optimisations: bool = False,
        examples: Sequence[Mapping[str, Shape]] = (),
        described: Mapping[str, str] | None = None,
    ) -> OnnxEngine:
        """Open one ONNX graph, given as file or as its content.

        `examples`: the shapes, by input, on which to warm up.
        `described`: what `describe` says beyond the usual, or in its place.
        `disable_optimisations` computes every node as it stands there, nothing fused: quantised
        numbers become floats before they are added up. It is slow, and what faster kernels are
        checked against.

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
                _options(
                    count,
                    disable_optimisations=disable_optimisations,
                    shapes_change=len(examples) > 1,
                ),
                providers=_EXECUTION_PROVIDERS[provider],
            )
        except Exception as error:  # ONNX Runtime's exceptions have no base of their own
            msg = f"{name} cannot be loaded by ONNX Runtime: {error}"
            raise EngineError(msg) from error
        if provider == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
            msg = "ONNX Runtime could not start CUDA: check the driver, CUDA and cuDNN versions"
            raise EngineError(msg)
        description = {"provider": provider, "precision": precision, "file": name}
        return cls(session, count, {**description, **(described or {})}, examples)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name; see `Engine.run`."""
        session = self._open_session()
        check_inputs(self._description["file"], self.inputs, inputs)
        try:
            results = session.run(self._names, dict(inputs))
        except Exception as error:  # ONNX Runtime's exceptions have no base of their own
            raise self._failure(inputs, error) from error
        return dict(zip(self._names, results, strict=True))

    def run_keeping(
        self, inputs: Mapping[str, Tensor], keep: Collection[str]
    ) -> tuple[dict[str, NDArray[Any]], dict[str, DeviceArray]]:
        """Return the outputs that are not kept on the device, and those that are."""
        session = self._open_session()
        check_inputs(self._description["file"], self.inputs, inputs)
        check_kept(self._description["file"], self.outputs, keep)
        binding = session.io_binding()
        # Stay referenced until the run is done.
        given = {
            name: tensor
            if isinstance(tensor, _OrtArray)
            else np.ascontiguousarray(on_processor(tensor))
            for name, tensor in inputs.items()
        }
        try:
            for name, tensor in given.items():
                if isinstance(tensor, _OrtArray):
                    binding.bind_ortvalue_input(name, tensor.value)
                else:
                    binding.bind_cpu_input(name, tensor)
            for name in self._names:
                binding.bind_output(name, self._device if name in keep else "cpu")
            session.run_with_iobinding(binding)
            binding.synchronize_outputs()
        except Exception as error:
            raise self._failure(inputs, error) from error
        values = dict(zip(self._names, binding.get_outputs(), strict=True))
        results = {name: value.numpy() for name, value in values.items() if name not in keep}
        return results, {name: _OrtArray(values[name]) for name in keep}

    def put(self, name: str, array: NDArray[Any]) -> DeviceArray:
        """Return an input on the device; on the processor that is no copy."""
        check_input(self._description["file"], self.inputs, name, array)
        contiguous = np.ascontiguousarray(array)
        return _OrtArray(ort.OrtValue.ortvalue_from_numpy(contiguous, self._device))

    def warm_up(self) -> None:
        """Run once on zeros of each example's shapes; without one batch 1, other dimensions 64."""
        usual = {spec.name: _warm_up_shape(spec) for spec in self.inputs}
        for shapes in self._examples or [usual]:
            self.run(zeros(self._description["file"], self.inputs, {**usual, **shapes}))

    def close(self) -> None:
        """Let go of the session; a run of another thread ends before it goes."""
        self._session = None

    def describe(self) -> dict[str, str]:
        """Return provider, precision, file, threads and library."""
        return dict(self._description)

    def _open_session(self) -> ort.InferenceSession:
        if self._session is None:
            msg = f"{self._description['file']} is closed"
            raise EngineError(msg)
        return self._session

    def _failure(self, inputs: Mapping[str, Tensor], error: Exception) -> EngineError:
        return EngineError(f"{self._description['file']} failed on {shown_shapes(inputs)}: {error}")


class _OrtArray:
    """A tensor of ONNX Runtime: a `DeviceArray`."""

    def __init__(self, value: ort.OrtValue) -> None:
        self.value = value
        self.shape = tuple(value.shape())
        self.dtype = _DTYPES.get(value.data_type(), value.data_type())

    def numpy(self) -> NDArray[Any]:
        array: NDArray[Any] = self.value.numpy()
        return array


def open_cpu(bundle: Bundle, model: str, threads: int, precision: str | None) -> OnnxEngine:
    """Open the engine that `compress build` found the fastest here, else the quantised one."""
    chosen, passed_over = known_choice(
        bundle, model, processor_of_this_device(), describe_host()["cpu"]
    )
    flavours = bundle.manifest.models[model].flavours
    usual = [flavours[name] for name in _CPU_FILES if name in flavours]
    files = [chosen, *usual] if chosen else usual
    return _open(
        bundle,
        model,
        files,
        provider="cpu",
        threads=threads,
        precision=precision,
        passed_over=passed_over,
    )


def open_cuda(bundle: Bundle, model: str, threads: int, precision: str | None) -> OnnxEngine:
    """Open the bundle's engine on the GPU."""
    flavours = bundle.manifest.models[model].flavours
    files = [flavours[name] for name in _CUDA_FILES if name in flavours]
    return _open(bundle, model, files, provider="cuda", threads=threads, precision=precision)


def processor_of_this_device() -> str:
    """Name the kind of this device, as choices among engines for the processor are kept by it."""
    return device_name(describe_host()["cpu"], f"onnxruntime{ort.__version__}")


def _open(
    bundle: Bundle,
    model: str,
    files: Sequence[str],
    *,
    provider: str,
    threads: int,
    precision: str | None,
    passed_over: str = "",
) -> OnnxEngine:
    _require_available(provider)
    described = bundle.manifest.models[model]
    engines = described.engines
    usable = [name for name in files if precision in {None, engines[name].precision}]
    if not usable:
        has = ", ".join(f"{name} ({file.precision})" for name, file in engines.items()) or "none"
        wanted = f"no engine for {provider}" + (f" in {precision}" if precision else "")
        msg = f"the bundle has {wanted}, only {has}"
        raise EngineError(msg)
    name = usable[0]
    engine = OnnxEngine.from_file(
        bundle.path / name,
        provider,
        threads,
        engines[name].precision,
        examples=described.examples,
        described={"file": name} | ({"passed_over": passed_over} if passed_over else {}),
    )
    check_against_manifest(name, described.inputs, engine.inputs)
    check_against_manifest(name, described.outputs, engine.outputs)
    return engine


def _require_available(provider: str) -> None:
    if provider == "cuda" and "CUDAExecutionProvider" not in ort.get_available_providers():
        msg = "this ONNX Runtime has no CUDA: install onnxruntime-gpu in place of onnxruntime"
        raise EngineError(msg)


def _options(
    threads: int, *, disable_optimisations: bool, shapes_change: bool
) -> ort.SessionOptions:
    options = ort.SessionOptions()
    # A plan of the memory for every number of edges would be another block of it for each.
    options.enable_mem_pattern = not shapes_change
    if disable_optimisations:
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
