"""A TensorRT plan from an ONNX graph, built on the device that will run it."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edge_runtime.caching import cache_directory
from edge_runtime.errors import EngineError
from edge_runtime.files import write_whole
from edge_runtime.progress import progress
from edge_runtime.tensorrt_library import import_tensorrt, log

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import ModuleType

    from tqdm import tqdm

    from edge_runtime.bundle import TensorSpec
    from edge_runtime.findings import Shape

    Shapes = Mapping[str, tuple[Shape, Shape, Shape]]
    """Of every input: the least shape, the one to tune for, the largest."""

_BATCH = "batch"
_LARGEST_STRIDE = 64  # by which networks for images shrink their input


def profile_shapes(inputs: Sequence[TensorSpec], examples: Sequence[Mapping[str, Shape]]) -> Shapes:
    """Return the shapes that a plan shall accept, around those of the examples.

    A dimension in which the examples differ goes from the least to the most of them; it is tuned
    for the first. Where they agree, batches go up to that size, and other dimensions with a name
    from a stride to twice the size, so that every camera's picture fits in. What the stride of the
    network is nobody says here, but the examples' dimensions are its multiples: the largest power
    of two that divides them all, up to 64, is a size that the network takes.
    """
    spans = {
        (spec.name, axis): tuple(example[spec.name][axis] for example in examples)
        for spec in inputs
        for axis in range(len(spec.shape))
    }
    stride = math.gcd(
        *(
            spans[spec.name, axis][0]
            for spec in inputs
            for axis, name in enumerate(spec.shape)
            if isinstance(name, str) and name != _BATCH and len(set(spans[spec.name, axis])) == 1
        )
    )
    stride = min(stride & -stride, _LARGEST_STRIDE)

    def span(name: int | str, sizes: tuple[int, ...]) -> tuple[int, int, int]:
        size = sizes[0]
        if len(set(sizes)) > 1:
            return min(sizes), size, max(sizes)
        if name == _BATCH:
            return 1, size, size
        return (stride, size, 2 * size) if isinstance(name, str) else (size, size, size)

    shapes = {}
    for spec in inputs:
        found = [span(name, spans[spec.name, axis]) for axis, name in enumerate(spec.shape)]
        least, best, most = zip(*found, strict=True)
        shapes[spec.name] = (least, best, most)
    return shapes


def build_plan(graph: bytes, shapes: Shapes, device: str) -> bytes:
    """Return the plan of a graph; it takes minutes, and shows how far it is.

    Strongly typed: every type is the graph's. That is the only kind of network in TensorRT 11,
    where the flag that asks for it is ignored, and one of two kinds in 10.

    What TensorRT measured is kept in the user's cache under the name `device`, also of a build that
    was interrupted, and makes the next one faster. An interrupt ends the build at its next step.

    Raises:
        EngineError: the graph cannot be parsed or built.
    """
    tensorrt = import_tensorrt()
    messages = log(tensorrt)
    messages.lines.clear()
    try:
        builder = tensorrt.Builder(messages)
    except (RuntimeError, TypeError) as error:  # what the binding makes of a null pointer
        what = f"cannot build here: {error}"
        raise _failure(what, messages) from error
    flag = tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    network = builder.create_network(1 << int(flag))
    # Until the build is done: the network's weights are the parser's.
    parser = tensorrt.OnnxParser(network, messages)
    if not parser.parse(graph):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        message = f"TensorRT cannot parse the graph: {'; '.join(map(_shown, errors))}"
        raise EngineError(message)
    config = builder.create_builder_config()
    try:
        profile = builder.create_optimization_profile()
        for name, (least, best, most) in shapes.items():
            profile.set_shape(name, least, best, most)
        accepted = config.add_optimization_profile(profile) >= 0
    except RuntimeError as error:
        what = f"refuses the range of the inputs' shapes: {error}"
        raise _failure(what, messages) from error
    if not accepted:
        raise _failure("refuses the range of the inputs' shapes", messages)
    cache = _cache_file(device)
    _attach_cache(config, cache)
    messages.lines.clear()  # of a cache from another device
    stop = threading.Event()
    config.progress_monitor = _progress(tensorrt, stop)
    try:
        plan = _interruptible(builder, network, config, stop)
    finally:
        _keep_cache(config, cache)
    if plan is None:
        raise _failure("cannot build the graph", messages)
    return bytes(plan)


def _interruptible(
    builder: Any,  # noqa: ANN401 - as the other two of TensorRT's own type
    network: Any,  # noqa: ANN401
    config: Any,  # noqa: ANN401
    stop: threading.Event,
) -> Any:  # noqa: ANN401 - an IHostMemory, or None
    # In a thread of its own: a signal reaches only the main thread, and that one not before it
    # comes back from the library.
    with ThreadPoolExecutor(1) as pool:
        try:
            return pool.submit(builder.build_serialized_network, network, config).result()
        except KeyboardInterrupt:
            stop.set()
            raise  # and leaving the pool waits until the library has let go


def _shown(error: Any) -> str:  # noqa: ANN401 - a ParserError
    return f"{error.node_operator()} '{error.node_name()}': {error.desc()}"


def _failure(what: str, messages: Any) -> EngineError:  # noqa: ANN401 - our logger
    said = "; ".join(messages.lines) or "it does not say why"
    return EngineError(f"TensorRT {what}: {said}")


def _cache_file(device: str) -> Path:
    return cache_directory() / "tensorrt" / f"{device}.timing"


def _attach_cache(config: Any, file: Path) -> None:  # noqa: ANN401 - an IBuilderConfig
    """Give the builder what former builds measured, or an empty cache where that is of no use."""
    known = []
    with suppress(OSError):
        known.append(file.read_bytes())
    for content in [*known, b""]:
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return


def _keep_cache(config: Any, file: Path) -> None:  # noqa: ANN401 - an IBuilderConfig
    cache = config.get_timing_cache()
    content = None if cache is None else cache.serialize()
    if content is not None:
        # A cache that cannot be written costs time at the next build, and must not cost this one.
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, bytes(content))


def _progress(tensorrt: ModuleType, stop: threading.Event) -> Any:  # noqa: ANN401 - see class
    class Progress(tensorrt.IProgressMonitor):  # type: ignore[misc,name-defined]
        """Shows each phase of the build as a bar, inner ones below outer ones.

        TensorRT calls it from several threads.
        """

        def __init__(self) -> None:
            tensorrt.IProgressMonitor.__init__(self)
            self._lock = threading.Lock()
            self._bars: dict[str, tqdm[Any]] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            del parent_phase  # phases are given from the outermost on
            with self._lock:
                place = len(self._bars)
                self._bars[phase_name] = progress(
                    total=num_steps, desc=phase_name, position=place, leave=place == 0
                )

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self._lock:
                bar = self._bars.get(phase_name)
                if bar is not None:
                    bar.update(step + 1 - bar.n)
            return not stop.is_set()

        def phase_finish(self, phase_name: str) -> None:
            with self._lock:
                bar = self._bars.pop(phase_name, None)
                if bar is not None:
                    bar.close()

    return Progress()
