"""The few calls of NVIDIA's `cuda-python` that an engine needs: which GPU, memory, one stream."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

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


class DeviceMemory:
    """One buffer on the GPU for each tensor, and the stream on which they are filled and read.

    Copies are queued: an array must stay where it is, and is not valid, until `wait` returns.
    """

    def __init__(self, cuda: Cuda) -> None:
        """Make the stream, and no buffers yet."""
        self._cuda = cuda
        self._buffers: dict[str, int] = {}
        self._stream: Any = cuda.call("cudaStreamCreate")

    @property
    def stream(self) -> int:
        """The stream's address."""
        return int(self._stream)

    def allocate(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Make buffers of so many bytes, in place of all that there were; return the addresses."""
        self._free()
        for name, size in sizes.items():
            self._buffers[name] = self._cuda.call("cudaMalloc", size)
        return dict(self._buffers)

    def upload(self, name: str, array: NDArray[Any]) -> None:
        """Queue a copy of a contiguous array into its buffer."""
        self._copy(self._buffers[name], array.ctypes.data, array.nbytes, to_device=True)

    def download(self, name: str, array: NDArray[Any]) -> None:
        """Queue a copy of the buffer into a contiguous array."""
        self._copy(array.ctypes.data, self._buffers[name], array.nbytes, to_device=False)

    def wait(self) -> None:
        """Wait until everything that was queued is done."""
        self._cuda.call("cudaStreamSynchronize", self._stream)

    def close(self) -> None:
        """Give everything back; after that the object is of no use."""
        # A GPU that has failed refuses these calls too, and has nothing left to give back.
        with suppress(EngineError):
            self._free()
        with suppress(EngineError):
            self._cuda.call("cudaStreamDestroy", self._stream)

    def _copy(self, target: int, source: int, size: int, *, to_device: bool) -> None:
        kind = self._cuda.direction(to_device=to_device)
        self._cuda.call("cudaMemcpyAsync", target, source, size, kind, self._stream)

    def _free(self) -> None:
        while self._buffers:
            _, address = self._buffers.popitem()
            self._cuda.call("cudaFree", address)
