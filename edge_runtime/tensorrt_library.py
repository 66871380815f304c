"""NVIDIA's TensorRT, where it is installed, and the kind of device that its plans are for."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from edge_runtime.cuda import Cuda
from edge_runtime.device_cache import device_name
from edge_runtime.errors import EngineError

if TYPE_CHECKING:
    from types import ModuleType

    from edge_runtime.cuda import Gpu

_LINES = 5


def plan_device(gpu: Gpu, tensorrt_version: str) -> str:
    """Return the name of the kind, such as "orin-8mp-sm87-trt10.3.0".

    A plan holds the kernels that were the fastest on one GPU and the format of one version of
    TensorRT; elsewhere it fails to load, or loads and is slow.
    """
    capability = "".join(map(str, gpu.capability))
    counts = f"{gpu.multiprocessors}mp-sm{capability}-trt{tensorrt_version}"
    return device_name(gpu.name, counts)


def plan_of_this_device() -> str:
    """Name the kind of this device, as plans are kept by it.

    Raises:
        EngineError: TensorRT, cuda-python or the GPU is missing.

    """
    tensorrt = import_tensorrt()
    return plan_device(Cuda().gpu(), tensorrt.__version__)


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
