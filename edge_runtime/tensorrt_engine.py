"""Engines by TensorRT: a plan that `compress build` made on this kind of device."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.bundle import TensorSpec
from edge_runtime.cuda import Cuda, DeviceMemory
from edge_runtime.errors import EngineError
from edge_runtime.plan import plan_name
from edge_runtime.signature import check_inputs, check_promise, shown_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from numpy.typing import NDArray

    from edge_runtime.bundle import Bundle

_FREE = "?"
_LEAST, _BEST, _MOST = 0, 1, 2
_LINES = 5


class TensorRTEngine:
    """A plan, loaded on the GPU, behind the `Engine` protocol."""

    def __init__(
        self, plan: bytes, precision: str = "unknown", file: str = "plan in memory"
    ) -> None:
        """Load a plan; `precision` and `file` are what `describe` says of it.

        Raises:
            EngineError: TensorRT or the GPU is not available, or the plan is not for them.

        """
        self._memory: DeviceMemory | None = None
        tensorrt, cuda = import_tensorrt(), Cuda()
        self._description = {
            "provider": "tensorrt",
            "precision": precision,
            "file": file,
            "library": f"tensorrt {tensorrt.__version__}",
            "device": cuda.gpu().name,
        }
        self._complaints = log(tensorrt)
        self._complaints.lines.clear()
        self._runtime, self._engine, self._context = self._load(tensorrt, plan)
        self.inputs, self.outputs = _signature(tensorrt, self._engine, file)
        self._memory = DeviceMemory(cuda)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._results: dict[str, tuple[int, ...]] = {}

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name; see `Engine.run`."""
        if self._memory is None:
            raise self._failure("is closed")
        check_inputs(self._description["file"], self.inputs, inputs)
        if {name: array.shape for name, array in inputs.items()} != self._shapes:
            self._resize(self._memory, inputs)
        # Both stay referenced until the stream is done with them.
        given = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        results = {
            spec.name: np.empty(self._results[spec.name], spec.dtype) for spec in self.outputs
        }
        try:
            for name, array in given.items():
                self._memory.upload(name, array)
            if not self._context.execute_async_v3(self._memory.stream):
                msg = f"failed on {shown_shapes(inputs)}"
                raise self._failure(msg)
            for name, array in results.items():
                self._memory.download(name, array)
        except EngineError:
            with suppress(EngineError):  # what failed first is to be told
                self._memory.wait()
            raise
        self._memory.wait()
        return results

    def warm_up(self) -> None:
        """Run once on zeros, of the shapes for which the plan was tuned."""
        shapes = {spec.name: self._range(spec)[_BEST] for spec in self.inputs}
        self.run({spec.name: np.zeros(shapes[spec.name], spec.dtype) for spec in self.inputs})

    def describe(self) -> dict[str, str]:
        """Return provider, precision, file, library and device."""
        return dict(self._description)

    def close(self) -> None:
        """Give the GPU's memory back; without this call it happens when the object goes."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None
            # TensorRT wants what was made last to go first.
            self._context = self._engine = self._runtime = None

    def __del__(self) -> None:
        self.close()

    def _load(self, tensorrt: ModuleType, plan: bytes) -> tuple[Any, Any, Any]:
        try:
            runtime = tensorrt.Runtime(self._complaints)
            engine = runtime.deserialize_cuda_engine(plan)
            context = None if engine is None else engine.create_execution_context()
        except (RuntimeError, TypeError) as error:  # what the binding makes of a null pointer
            msg = f"cannot be loaded by TensorRT: {error}"
            raise self._failure(msg) from error
        if context is None:
            raise self._failure("cannot be loaded by TensorRT")
        return runtime, engine, context

    def _resize(self, memory: DeviceMemory, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Tell TensorRT the shapes of the inputs, and make buffers for them and the outputs."""
        # Whatever fails on the way, the next run begins here again.
        self._shapes = {}
        for spec in self.inputs:
            if not self._context.set_input_shape(spec.name, inputs[spec.name].shape):
                allowed = self._range(spec)
                msg = (
                    f"takes {spec.name!r} from {allowed[_LEAST]} to {allowed[_MOST]}, not "
                    f"{inputs[spec.name].shape}: choose the provider cuda or cpu"
                )
                raise self._failure(msg)
        specs = [*self.inputs, *self.outputs]
        shapes = {spec.name: tuple(self._context.get_tensor_shape(spec.name)) for spec in specs}
        unknown = [name for name, shape in shapes.items() if min(shape, default=0) < 0]
        if unknown:
            msg = f"has outputs whose size depends on values: {', '.join(unknown)}"
            raise self._failure(msg)
        sizes = {
            spec.name: math.prod(shapes[spec.name]) * np.dtype(spec.dtype).itemsize
            for spec in specs
        }
        for name, address in memory.allocate(sizes).items():
            if not self._context.set_tensor_address(name, address):
                msg = f"refuses a buffer for {name!r}"
                raise self._failure(msg)
        self._results = {spec.name: shapes[spec.name] for spec in self.outputs}
        self._shapes = {spec.name: inputs[spec.name].shape for spec in self.inputs}

    def _range(self, spec: TensorSpec) -> list[tuple[int, ...]]:
        """Return the least, best and largest shape that the plan was built for."""
        if _FREE not in spec.shape:
            return [tuple(map(int, spec.shape))] * 3
        return [tuple(shape) for shape in self._engine.get_tensor_profile_shape(spec.name, 0)]

    def _failure(self, what: str) -> EngineError:
        said = f" ({'; '.join(self._complaints.lines)})" if self._complaints.lines else ""
        self._complaints.lines.clear()
        return EngineError(f"{self._description['file']} {what}{said}")


def open_tensorrt(bundle: Bundle, threads: int, precision: str | None) -> TensorRTEngine:
    """Open the bundle's plan for this GPU and this version of TensorRT; never build one."""
    del threads  # of the processor, which has nothing to compute here
    remedy = f"`compress build {bundle.path}` on this device makes it"
    wanted = plan_of_this_device()
    plans = bundle.manifest.plans
    if wanted not in plans:
        msg = f"the bundle has no {wanted}, only {', '.join(plans) or 'no plans'}: {remedy}"
        raise EngineError(msg)
    if precision not in {None, plans[wanted].precision}:
        msg = f"{wanted} is {plans[wanted].precision}, not {precision}"
        raise EngineError(msg)
    try:
        content = (bundle.path / wanted).read_bytes()
        engine = TensorRTEngine(content, plans[wanted].precision, wanted)
    except OSError as error:
        msg = f"{wanted}: {error.strerror}: {remedy}"
        raise EngineError(msg) from error
    check_promise(wanted, bundle.manifest.inputs, engine.inputs)
    check_promise(wanted, bundle.manifest.outputs, engine.outputs)
    return engine


def plan_of_this_device() -> str:
    """Name the plan that this device can run.

    Raises:
        EngineError: TensorRT, cuda-python or the GPU is missing.

    """
    tensorrt = import_tensorrt()
    return plan_name(Cuda().gpu(), tensorrt.__version__)


def import_tensorrt() -> ModuleType:
    """Import NVIDIA's module.

    Raises:
        EngineError: it is not installed.

    """
    try:
        return import_module("tensorrt")
    except (ImportError, OSError) as error:  # the second where its libraries are missing
        msg = f"TensorRT is not installed here: {error} (on a Jetson: apt's python3-libnvinfer)"
        raise EngineError(msg) from error


@lru_cache
def log(tensorrt: ModuleType) -> Any:  # noqa: ANN401 - its class is made here
    """Return the logger that keeps TensorRT's errors in `lines`; the last few of them.

    TensorRT takes one logger in a process for all of its objects, and it must outlive them.
    """

    class Log(tensorrt.ILogger):  # type: ignore[misc,name-defined]
        """Collects what the library would print, for the one line of our own error."""

        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: object, msg: str) -> None:
            if severity in (tensorrt.ILogger.ERROR, tensorrt.ILogger.INTERNAL_ERROR):
                said = " ".join(msg.split())
                self.lines[:] = [*(line for line in self.lines if line != said), said][-_LINES:]

    return Log()


def _signature(
    tensorrt: ModuleType,
    engine: Any,  # noqa: ANN401 - an ICudaEngine
    file: str,
) -> tuple[list[TensorSpec], list[TensorSpec]]:
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        try:
            dtype = np.dtype(tensorrt.nptype(engine.get_tensor_dtype(name))).name
        except TypeError as error:
            msg = f"{file}: {name!r} has the type {engine.get_tensor_dtype(name)}, not one of NumPy"
            raise EngineError(msg) from error
        if engine.get_tensor_location(name) != tensorrt.TensorLocation.DEVICE:
            msg = f"{file}: {name!r} is a shape, which the processor would have to hand over"
            raise EngineError(msg)
        shape = tuple(size if size >= 0 else _FREE for size in engine.get_tensor_shape(name))
        spec = TensorSpec(name=name, shape=shape, dtype=dtype)
        is_input = engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT
        (inputs if is_input else outputs).append(spec)
    return inputs, outputs
