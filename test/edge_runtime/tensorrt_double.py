"""Stand-ins for the hardware: the modules `tensorrt` and `cuda.bindings.runtime`.

They behave as NVIDIA documents its own: device memory is memory with addresses, a plan is a blob
that only the same version reads, and what would run on the GPU runs in ONNX Runtime. `GPU` says
which GPU there is, what is allocated, and which calls shall fail.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
import threading
from base64 import b64decode, b64encode
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

if TYPE_CHECKING:
    import pytest

MAGIC = b"plan"


class Gpu:
    """The state of the stand-in; `install` makes it anew."""

    def __init__(self) -> None:
        self.name = b"Orin"
        self.multiprocessors = 8
        self.capability = (8, 7)
        self.buffers: dict[int, Any] = {}
        self.streams: set[int] = set()
        self.allocations = 0
        self.failing: dict[str, int] = {}  # CUDA's function -> status
        self.refuses_to_run = False
        self.contexts = 0
        self.on_run: Any = lambda: None
        self.off_by = 0.0  # added to every output
        self.builds: list[dict[str, Any]] = []
        self.steps = 3  # of a build
        self.on_step: Any = lambda: None
        self.refused: list[bytes] = []  # operators that no graph to parse may have
        self.has_builder = True


GPU = Gpu()


CudaError = IntEnum(
    "CudaError",
    {"cudaSuccess": 0, "cudaErrorMemoryAllocation": 2, "cudaErrorIllegalAddress": 700},
)
CopyKind = IntEnum("CopyKind", {"cudaMemcpyHostToDevice": 1, "cudaMemcpyDeviceToHost": 2})


class Stream:
    def __init__(self, handle: int) -> None:
        self.handle = handle

    def __int__(self) -> int:
        return self.handle


def _status(function: str) -> CudaError:
    return CudaError(GPU.failing.get(function, 0))


def _malloc(size: int) -> tuple[CudaError, int | None]:
    if _status("cudaMalloc"):
        return _status("cudaMalloc"), None
    buffer = ctypes.create_string_buffer(size)
    GPU.buffers[ctypes.addressof(buffer)] = buffer
    GPU.allocations += 1
    return CudaError.cudaSuccess, ctypes.addressof(buffer)


def _free(address: int) -> tuple[CudaError]:
    del GPU.buffers[address]
    return (_status("cudaFree"),)


def _copy(target: int, source: int, size: int, kind: CopyKind, stream: Stream) -> tuple[CudaError]:
    assert int(stream) in GPU.streams
    _check_copy(target, source, size, kind)
    if not _status("cudaMemcpyAsync"):
        ctypes.memmove(target, source, size)
    return (_status("cudaMemcpyAsync"),)


def _copy_now(target: int, source: int, size: int, kind: CopyKind) -> tuple[CudaError]:
    _check_copy(target, source, size, kind)
    ctypes.memmove(target, source, size)
    return (CudaError.cudaSuccess,)


def _check_copy(target: int, source: int, size: int, kind: CopyKind) -> None:
    on_device = target if kind == CopyKind.cudaMemcpyHostToDevice else source
    assert size <= len(GPU.buffers[on_device])


def _stream_create() -> tuple[CudaError, Stream]:
    handle = max(GPU.streams, default=0) + 1
    GPU.streams.add(handle)
    return CudaError.cudaSuccess, Stream(handle)


def _stream_destroy(stream: Stream) -> tuple[CudaError]:
    GPU.streams.remove(int(stream))
    return (CudaError.cudaSuccess,)


def _synchronize(stream: Stream) -> tuple[CudaError]:
    assert int(stream) in GPU.streams
    return (_status("cudaStreamSynchronize"),)


def _properties(device: int) -> tuple[CudaError, Any]:
    assert device == 0
    major, minor = GPU.capability
    found = SimpleNamespace(name=GPU.name, major=major, minor=minor)
    found.multiProcessorCount = GPU.multiprocessors
    return _status("cudaGetDeviceProperties"), found


def _cuda() -> ModuleType:
    module = ModuleType("cuda.bindings.runtime")
    module.__dict__.update(
        cudaError_t=CudaError,
        cudaMemcpyKind=CopyKind,
        cudaGetDevice=lambda: (CudaError.cudaSuccess, 0),
        cudaGetDeviceProperties=_properties,
        cudaMalloc=_malloc,
        cudaFree=_free,
        cudaMemcpy=_copy_now,
        cudaMemcpyAsync=_copy,
        cudaStreamCreate=_stream_create,
        cudaStreamDestroy=_stream_destroy,
        cudaStreamSynchronize=_synchronize,
    )
    return module


class Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING = Severity

    def __init__(self) -> None:
        self.is_made = True


class TensorIOMode(IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class TensorLocation(IntEnum):
    DEVICE = 0
    HOST = 1


class Blob(bytes):
    """An IHostMemory: its bytes are read through the buffer protocol."""


class Engine:
    def __init__(self, graph: bytes, profile: dict[str, Any]) -> None:
        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.profile = profile
        self.inputs = {node.name: node for node in self.session.get_inputs()}
        self.outputs = {node.name: node for node in self.session.get_outputs()}
        self.names = [*self.inputs, *self.outputs]
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_location(self, name: str) -> TensorLocation:
        return TensorLocation.HOST if name == "shape" else TensorLocation.DEVICE

    def get_tensor_dtype(self, name: str) -> str:
        kind: str = {**self.inputs, **self.outputs}[name].type
        return kind

    def get_tensor_shape(self, name: str) -> list[int]:
        shape = {**self.inputs, **self.outputs}[name].shape
        return [size if isinstance(size, int) else -1 for size in shape]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
        assert profile_index == 0
        shapes: list[list[int]] = self.profile[name]
        return shapes

    def create_execution_context(self) -> Context:
        return Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.lock = threading.Lock()
        GPU.contexts += 1

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        assert profile_index == 0
        return stream_handle in GPU.streams

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self.engine.profile[name]
        if not all(a <= size <= b for a, size, b in zip(least, shape, most, strict=True)):
            return False
        self.shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> list[int]:
        if name in self.shapes:
            return list(self.shapes[name])
        zeros = {key: np.zeros(shape, np.float32) for key, shape in self.shapes.items()}
        return list(self.engine.session.run([name], zeros)[0].shape)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return memory in GPU.buffers

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle in GPU.streams
        assert self.lock.acquire(blocking=False), "two threads in one context"
        try:
            return self._execute()
        finally:
            self.lock.release()

    def _execute(self) -> bool:
        GPU.on_run()
        if GPU.refuses_to_run:
            _loggers[-1].log(Severity.ERROR, "enqueueV3: a kernel\nfailed")
            return False
        inputs = {}
        for name, shape in self.shapes.items():
            content = ctypes.string_at(self.addresses[name], 4 * math.prod(shape))
            inputs[name] = np.frombuffer(content, np.float32).reshape(shape)
        names = list(self.engine.outputs)
        for name, array in zip(names, self.engine.session.run(names, inputs), strict=True):
            content = (array + np.float32(GPU.off_by)).astype(array.dtype).tobytes()
            ctypes.memmove(self.addresses[name], content, len(content))
        return True


_loggers: list[Any] = []


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        assert logger.is_made
        _loggers.append(logger)

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
        logger: Any = _loggers[-1]
        if not serialized_engine.startswith(MAGIC):
            logger.log(Severity.WARNING, "odd")
            logger.log(Severity.ERROR, "Serialization\nassertion magicTag failed")
            return None
        plan = json.loads(serialized_engine[len(MAGIC) :])
        return Engine(b64decode(plan["graph"]), plan["profile"])


class Network:
    graph: bytes


class OnnxParser:
    def __init__(self, network: Network, logger: ILogger) -> None:
        assert logger.is_made
        self.network = network
        self.num_errors = 0

    def parse(self, model: bytes) -> bool:
        self.network.graph = model
        found = [operator for operator in GPU.refused if operator in model]
        self.num_errors = 2 * len(found)
        return not found

    def get_error(self, index: int) -> Any:  # noqa: ANN401 - a ParserError
        return SimpleNamespace(
            node_operator=lambda: "Odd",
            node_name=lambda: f"node {index}",
            desc=lambda: "is not\nsupported",
        )


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> Blob:
        return Blob(self.content)


class BuilderConfig:
    def __init__(self) -> None:
        self.progress_monitor: Any = None
        self.profile: dict[str, Any] = {}
        self.cache: TimingCache | None = None

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profile = profile.shapes
        return 0

    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache:
        return TimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:  # noqa: FBT001
        assert not ignore_mismatch
        if cache.content and not cache.content.startswith(b"timed"):
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> TimingCache | None:
        return self.cache


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        least, best, most = shapes
        assert all(a <= b <= c for a, b, c in zip(least, best, most, strict=True))
        self.shapes[name] = shapes


class Builder:
    def __init__(self, logger: ILogger) -> None:
        assert logger.is_made
        if not GPU.has_builder:
            message = "pybind11::init(): factory function returned nullptr"
            raise TypeError(message)
        _loggers.append(logger)

    def create_network(self, flags: int = 0) -> Network:
        assert flags == 1 << int(CreationFlag.STRONGLY_TYPED)
        return Network()

    def create_builder_config(self) -> BuilderConfig:
        return BuilderConfig()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: BuilderConfig) -> Blob | None:
        assert config.cache is not None
        GPU.builds.append({"cache": config.cache.content, "profile": config.profile})
        config.cache.content = b"timed"
        monitor = config.progress_monitor
        monitor.phase_start("Building Engine", None, 2)
        monitor.phase_start("Timing", "Building Engine", GPU.steps)
        for step in range(GPU.steps):
            GPU.on_step()
            if not monitor.step_complete("Timing", step):
                return None
        monitor.phase_finish("Timing")
        monitor.step_complete("Building Engine", 0)
        monitor.phase_finish("Building Engine")
        graph = b64encode(network.graph).decode()
        return Blob(MAGIC + json.dumps({"graph": graph, "profile": config.profile}).encode())


class CreationFlag(IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class IProgressMonitor:
    def __init__(self) -> None:
        self.is_made = True


def _nptype(kind: str) -> type:
    known = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
    if kind not in known:
        message = "Could not resolve TensorRT datatype to an equivalent numpy datatype."
        raise TypeError(message)
    return known[kind]


def install(patch: pytest.MonkeyPatch, version: str = "10.3.0", layout: str = "bindings") -> Gpu:
    """Make both modules importable, with a fresh GPU; `layout` is that of cuda-python."""
    tensorrt = ModuleType("tensorrt")
    tensorrt.__dict__.update(
        __version__=version,
        nptype=_nptype,
        ILogger=ILogger,
        TensorIOMode=TensorIOMode,
        TensorLocation=TensorLocation,
        Runtime=Runtime,
        Builder=Builder,
        OnnxParser=OnnxParser,
        IProgressMonitor=IProgressMonitor,
        NetworkDefinitionCreationFlag=CreationFlag,
    )
    patch.setitem(sys.modules, "tensorrt", tensorrt)
    patch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    if layout == "bindings":
        patch.setitem(sys.modules, "cuda.bindings", ModuleType("cuda.bindings"))
        patch.setitem(sys.modules, "cuda.bindings.runtime", _cuda())
    else:
        patch.setitem(sys.modules, "cuda.cudart", _cuda())
    GPU.__init__()  # type: ignore[misc]
    return GPU


def make_plan(graph: bytes, profile: dict[str, Any]) -> bytes:
    return MAGIC + json.dumps({"graph": b64encode(graph).decode(), "profile": profile}).encode()
