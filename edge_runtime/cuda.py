"""The few calls of NVIDIA's `cuda-python` that an engine needs: which GPU, memory, streams."""

from __future__ import annotations

import math
import weakref
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

# The second name is the only one up to cuda-python 12.6.0 and is gone in 13.
_MODULES = ("cuda.bindings.runtime", "cuda.cudart")
# From 12.9 on it brings a CUDA run time of its own, for which JetPack 6's driver is too old.
_JETPACK = "'cuda-python>=12.2,<12.9'"


@dataclass(frozen=True)
class Gpu:
    """A GPU as CUDA describes it.

    Every Jetson of a generation calls its GPU the same ("Orin"); what sets the modules apart is
    the number of their streaming multiprocessors.
    """

    name: str
    multiprocessors: int
    capability: tuple[int, int]


class Cuda:
    """The CUDA run time, whichever layout the installed cuda-python has."""

    def __init__(self) -> None:
        """Import it.

        Raises:
            EngineError: cuda-python is not installed.

        """
        for name in _MODULES:
            with suppress(ImportError):
                self._runtime: Any = import_module(name)
                return
        msg = (
            f"cuda-python is not installed here: pip install {_JETPACK} on JetPack 6, elsewhere "
            "'cuda-python==MAJOR.*' of the CUDA that is installed"
        )
        raise EngineError(msg)

    def gpu(self) -> Gpu:
        """Return the GPU on which this thread's calls run."""
        found = self.call("cudaGetDeviceProperties", self.call("cudaGetDevice"))
        name = found.name.decode(errors="replace").rstrip("\0")
        return Gpu(name, found.multiProcessorCount, (found.major, found.minor))

    def call(self, name: str, *args: object) -> Any:  # noqa: ANN401 - whatever it answers
        """Call a function that answers (status, result) or (status,); return the result.

        Raises:
            EngineError: the status is not success.

        """
        try:
            status, *results = getattr(self._runtime, name)(*args)
        # Without a driver, cuda-python before 12.9 has no status; nor has any one it does not know.
        except (RuntimeError, ValueError) as error:
            msg = f"CUDA's {name} failed: {error}"
            raise EngineError(msg) from error
        if status != self._runtime.cudaError_t.cudaSuccess:
            msg = f"CUDA's {name} failed: {status.name}"
            if status.name == "cudaErrorInsufficientDriver":
                msg += f": on JetPack 6 pip install {_JETPACK}, elsewhere update the driver"
            raise EngineError(msg)
        return results[0] if results else None

    def direction(self, *, to_device: bool) -> Any:  # noqa: ANN401 - an enumerator of the library
        """Return what a copy has to be told."""
        kind = self._runtime.cudaMemcpyKind
        return kind.cudaMemcpyHostToDevice if to_device else kind.cudaMemcpyDeviceToHost


class Stream:
    """A queue of work for the GPU; what is queued is done, and arrays are valid, after `wait`."""

    def __init__(self, cuda: Cuda) -> None:
        """Make it.

        Raises:
            EngineError: as of `Cuda.call`.

        """
        self._cuda = cuda
        self._stream: Any = cuda.call("cudaStreamCreate")

    def __int__(self) -> int:
        """Return its address."""
        return int(self._stream)

    def upload(self, array: NDArray[Any], address: int) -> None:
        """Queue a copy of a contiguous array to the GPU."""
        self._copy(address, array.ctypes.data, array.nbytes, to_device=True)

    def download(self, address: int, array: NDArray[Any]) -> None:
        """Queue a copy from the GPU into a contiguous array."""
        self._copy(array.ctypes.data, address, array.nbytes, to_device=False)

    def wait(self) -> None:
        """Wait until everything that was queued is done."""
        self._cuda.call("cudaStreamSynchronize", self._stream)

    @contextmanager
    def finished(self) -> Iterator[None]:
        """Wait at the end of a block, also if something fails in it, which is then raised."""
        try:
            yield
        except BaseException:
            with suppress(EngineError):
                self.wait()
            raise
        self.wait()

    def close(self) -> None:
        """Give it back; after that the object is of no use."""
        # A GPU that has failed refuses this too, and has nothing left to give back.
        with suppress(EngineError):
            self._cuda.call("cudaStreamDestroy", self._stream)

    def _copy(self, target: int, source: int, size: int, *, to_device: bool) -> None:
        kind = self._cuda.direction(to_device=to_device)
        self._cuda.call("cudaMemcpyAsync", target, source, size, kind, self._stream)


class Buffers:
    """Memory on the GPU that is taken for a tensor, given back, and taken again."""

    def __init__(self, cuda: Cuda, sizes: Mapping[str, int]) -> None:
        """Allocate nothing yet; `sizes` are the most bytes that each tensor needs."""
        self._cuda = cuda
        self._sizes = sizes
        self._free: dict[str, list[int]] = {name: [] for name in sizes}
        self._is_closed = False
        # The garbage collector may give back an array in the midst of a call.
        self._lock = RLock()

    def take(self, name: str, size: int) -> int:
        """Return the address of the tensor's most bytes, of a buffer given back before if any is.

        Raises:
            EngineError: `size` bytes are more than that, or there is no memory.

        """
        if size > self._sizes[name]:
            msg = f"{name!r} has {size} bytes, where at most {self._sizes[name]} were expected"
            raise EngineError(msg)
        with self._lock:
            if self._free[name]:
                return self._free[name].pop()
        address: int = self._cuda.call("cudaMalloc", self._sizes[name])
        return address

    def give_back(self, name: str, address: int) -> None:
        """Let others take a buffer; after `close`, it goes."""
        with self._lock:
            if not self._is_closed:
                self._free[name].append(address)
                return
        with suppress(EngineError):
            self._cuda.call("cudaFree", address)

    def close(self) -> None:
        """Free what is not in use now, and the rest when it is given back."""
        with self._lock:
            self._is_closed = True
            addresses = [address for each in self._free.values() for address in each]
            self._free = {name: [] for name in self._free}
        for address in addresses:
            with suppress(EngineError):
                self._cuda.call("cudaFree", address)


class GpuArray:
    """A tensor that stays on the GPU: a `DeviceArray`. Its buffer is used again when it goes."""

    def __init__(
        self, cuda: Cuda, buffers: Buffers, name: str, shape: tuple[int, ...], dtype: str
    ) -> None:
        """Take a buffer; what is in it is arbitrary."""
        self.shape = shape
        self.dtype = dtype
        self.address = buffers.take(name, math.prod(shape) * np.dtype(dtype).itemsize)
        self._cuda = cuda
        weakref.finalize(self, buffers.give_back, name, self.address).atexit = False

    def numpy(self) -> NDArray[Any]:
        """Return a copy."""
        array = np.empty(self.shape, self.dtype)
        kind = self._cuda.direction(to_device=False)
        self._cuda.call("cudaMemcpy", array.ctypes.data, self.address, array.nbytes, kind)
        return array
