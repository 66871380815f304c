"""Engines by TensorRT: a plan that `compress build` made on this kind of device."""

from __future__ import annotations

import math
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.bundle import TensorSpec
from edge_runtime.cuda import Buffers, Cuda, GpuArray, Stream
from edge_runtime.device_array import on_processor
from edge_runtime.device_cache import known_plan
from edge_runtime.errors import BundleError, EngineError
from edge_runtime.signature import (
    check_against_manifest,
    check_input,
    check_inputs,
    check_kept,
    largest_first,
    shown_shapes,
    zeros,
)
from edge_runtime.tensorrt_library import import_tensorrt, log, plan_of_this_device

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from types import ModuleType

    from numpy.typing import NDArray

    from edge_runtime.bundle import Bundle
    from edge_runtime.device_array import DeviceArray, Tensor
    from edge_runtime.findings import Shape

_FREE = "?"
_LEAST, _BEST, _MOST = 0, 1, 2


class TensorRTEngine:
    """A plan, loaded on the GPU, behind the `Engine` protocol.

    Each thread that runs it has an execution context, and buffers for the largest shapes, to
    itself; they are kept for those that come after it, and so no shape allocates anything.
    """

    def __init__(
        self,
        plan: bytes,
        precision: str = "unknown",
        file: str = "plan in memory",
        examples: Sequence[Mapping[str, Shape]] = (),
        passed_over: str = "",
    ) -> None:
        """Load a plan; `precision`, `file` and `passed_over` are what `describe` says of it.

        `examples`: the shapes, by input, on which to warm up; without one those it was tuned for.

        Raises:
            EngineError: TensorRT or the GPU is not available, or the plan is not for them.

        """
        self._buffers: Buffers | None = None
        self._idle: list[_Context] = []
        self._lock = Lock()
        tensorrt, self._cuda = import_tensorrt(), Cuda()
        self._description = {
            "provider": "tensorrt",
            "precision": precision,
            "file": file,
            "library": f"tensorrt {tensorrt.__version__}",
            "device": self._cuda.gpu().name,
        } | ({"passed_over": passed_over} if passed_over else {})
        self._examples = largest_first(examples)
        self._log = log(tensorrt)
        self._log.lines.clear()
        self._runtime, self._engine = self._load(tensorrt, plan)
        self.inputs, self.outputs = _signature(tensorrt, self._engine, file)
        self._ranges = {spec.name: self._range(spec) for spec in self.inputs}
        self._idle.append(self._new_context())
        largest = {name: shapes[_MOST] for name, shapes in self._ranges.items()}
        shapes = largest | self._output_shapes(self._idle[0], largest)
        sizes = {
            spec.name: math.prod(shapes[spec.name]) * np.dtype(spec.dtype).itemsize
            for spec in (*self.inputs, *self.outputs)
        }
        self._buffers = Buffers(self._cuda, sizes)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name; see `Engine.run`."""
        return self.run_keeping(inputs, ())[0]

    def run_keeping(
        self, inputs: Mapping[str, Tensor], keep: Collection[str]
    ) -> tuple[dict[str, NDArray[Any]], dict[str, DeviceArray]]:
        """Return the outputs that are not kept on the GPU, and those that are."""
        check_inputs(self._description["file"], self.inputs, inputs)
        check_kept(self._description["file"], self.outputs, keep)
        with self._context() as (context, buffers):
            shapes = self._output_shapes(
                context, {spec.name: tuple(inputs[spec.name].shape) for spec in self.inputs}
            )
            outputs = {
                spec.name: GpuArray(self._cuda, buffers, spec.name, shapes[spec.name], spec.dtype)
                for spec in self.outputs
            }
            results = {
                name: np.empty(array.shape, array.dtype)
                for name, array in outputs.items()
                if name not in keep
            }
            # Both stay referenced until the stream is done with them.
            given = {
                name: tensor
                if isinstance(tensor, GpuArray)
                else np.ascontiguousarray(on_processor(tensor))
                for name, tensor in inputs.items()
            }
            with context.stream.finished():
                on_gpu = {
                    name: self._on_gpu(context, buffers, name, tensor)
                    for name, tensor in given.items()
                }
                if not context.execute(on_gpu | outputs):
                    msg = f"failed on {shown_shapes(inputs)}"
                    raise self._failure(msg)
                for name, array in results.items():
                    context.stream.download(outputs[name].address, array)
        return results, {name: outputs[name] for name in keep}

    def put(self, name: str, array: NDArray[Any]) -> DeviceArray:
        """Return a copy of an input on the GPU."""
        check_input(self._description["file"], self.inputs, name, array)
        contiguous = np.ascontiguousarray(array)
        with self._context() as (context, buffers), context.stream.finished():
            return self._on_gpu(context, buffers, name, contiguous)

    def warm_up(self) -> None:
        """Run once on zeros of each example's shapes."""
        best = {name: shapes[_BEST] for name, shapes in self._ranges.items()}
        for shapes in self._examples or [best]:
            self.run(zeros(self._description["file"], self.inputs, shapes))

    def describe(self) -> dict[str, str]:
        """Return provider, precision, file, library and device."""
        return dict(self._description)

    def close(self) -> None:
        """Give the GPU's memory back; without this call it happens when the object goes."""
        with self._lock:
            contexts, self._idle = self._idle, []
            buffers, self._buffers = self._buffers, None
            # TensorRT wants what was made last to go first.
            for context in contexts:
                context.close()
            if buffers is not None:
                buffers.close()
            self._engine = self._runtime = None

    def __del__(self) -> None:
        self.close()

    def _load(self, tensorrt: ModuleType, plan: bytes) -> tuple[Any, Any]:
        try:
            runtime = tensorrt.Runtime(self._log)
            engine = runtime.deserialize_cuda_engine(plan)
        except (RuntimeError, TypeError) as error:  # what the binding makes of a null pointer
            msg = f"cannot be loaded by TensorRT: {error}"
            raise self._failure(msg) from error
        if engine is None:
            raise self._failure("cannot be loaded by TensorRT")
        return runtime, engine

    @contextmanager
    def _context(self) -> Iterator[tuple[_Context, Buffers]]:
        """Lend a context that no other thread uses, and the buffers."""
        with self._lock:
            buffers = self._buffers
            if buffers is None:
                raise self._failure("is closed")
            context = self._idle.pop() if self._idle else self._new_context()
        try:
            yield context, buffers
        finally:
            with self._lock:
                if self._buffers is None:
                    context.close()
                else:
                    self._idle.append(context)

    def _new_context(self) -> _Context:
        try:
            context = self._engine.create_execution_context()
        except (RuntimeError, TypeError) as error:  # what the binding makes of a null pointer
            msg = f"cannot be run by TensorRT: {error}"
            raise self._failure(msg) from error
        if context is None:
            raise self._failure("cannot be run by TensorRT")
        return _Context(self._engine, context, Stream(self._cuda))

    def _output_shapes(self, context: _Context, inputs: dict[str, Shape]) -> dict[str, Shape]:
        """Tell TensorRT the shapes of the inputs and ask for those of the outputs."""
        if context.inputs == inputs:
            return context.outputs
        refused = context.take_shapes(inputs, [spec.name for spec in self.outputs])
        if refused:
            allowed = self._ranges[refused]
            msg = (
                f"takes {refused!r} from {allowed[_LEAST]} to {allowed[_MOST]}, not "
                f"{inputs[refused]}: choose the provider cuda or cpu"
            )
            raise self._failure(msg)
        unknown = [name for name, shape in context.outputs.items() if min(shape, default=0) < 0]
        if unknown:
            msg = f"has outputs whose size depends on values: {', '.join(unknown)}"
            raise self._failure(msg)
        return context.outputs

    def _on_gpu(
        self, context: _Context, buffers: Buffers, name: str, tensor: GpuArray | NDArray[Any]
    ) -> GpuArray:
        if isinstance(tensor, GpuArray):
            return tensor
        array = GpuArray(self._cuda, buffers, name, tensor.shape, tensor.dtype.name)
        context.stream.upload(tensor, array.address)
        return array

    def _range(self, spec: TensorSpec) -> list[Shape]:
        """Return the least, best and largest shape that the plan was built for."""
        if _FREE not in spec.shape:
            return [tuple(map(int, spec.shape))] * 3
        return [tuple(shape) for shape in self._engine.get_tensor_profile_shape(spec.name, 0)]

    def _failure(self, what: str) -> EngineError:
        said = f" ({'; '.join(self._log.lines)})" if self._log.lines else ""
        self._log.lines.clear()
        return EngineError(f"{self._description['file']} {what}{said}")


class _Context:
    """An execution context, its stream, and what it was told last."""

    def __init__(self, engine: Any, context: Any, stream: Stream) -> None:  # noqa: ANN401 - theirs
        # The context must go before its engine.
        self._engine = engine
        self._context = context
        self._addresses: dict[str, int] = {}
        self.stream = stream
        self.inputs: dict[str, Shape] = {}
        self.outputs: dict[str, Shape] = {}
        # TensorRT takes it by itself in the first context only.
        context.set_optimization_profile_async(0, int(stream))

    def take_shapes(self, inputs: dict[str, Shape], outputs: Sequence[str]) -> str:
        """Take the inputs' shapes, and learn the outputs'; return an input that is refused."""
        # Whatever fails on the way, the next run begins here again.
        self.inputs = {}
        for name, shape in inputs.items():
            if not self._context.set_input_shape(name, shape):
                return name
        self.outputs = {name: tuple(self._context.get_tensor_shape(name)) for name in outputs}
        self.inputs = inputs
        return ""

    def execute(self, arrays: Mapping[str, GpuArray]) -> bool:
        """Queue a run on these inputs and outputs; False if TensorRT refuses."""
        for name, array in arrays.items():
            if self._addresses.get(name) != array.address:
                if not self._context.set_tensor_address(name, array.address):
                    return False
                self._addresses[name] = array.address
        return bool(self._context.execute_async_v3(int(self.stream)))

    def close(self) -> None:
        self._context = self._engine = None
        self.stream.close()


def open_tensorrt(
    bundle: Bundle, model: str, threads: int, precision: str | None
) -> TensorRTEngine:
    """Open a model's plan for this GPU and this version of TensorRT; never build one."""
    del threads  # of the processor, which has nothing to compute here
    described = bundle.manifest.models[model]
    device = plan_of_this_device()
    try:
        plan, content, passed_over = known_plan(bundle, model, device)
    except BundleError as error:
        raise EngineError(str(error)) from error
    name = f"{device}/{model}.plan"
    if precision not in {None, plan.precision}:
        msg = f"{name} is {plan.precision}, not {precision}"
        raise EngineError(msg)
    engine = TensorRTEngine(content, plan.precision, name, described.examples, passed_over)
    try:
        check_against_manifest(name, described.inputs, engine.inputs)
        check_against_manifest(name, described.outputs, engine.outputs)
    except EngineError:
        engine.close()
        raise
    return engine


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
