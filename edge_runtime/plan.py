"""The kind of device on which a TensorRT plan runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.device_cache import device_name

if TYPE_CHECKING:
    from edge_runtime.cuda import Gpu


def plan_device(gpu: Gpu, tensorrt_version: str) -> str:
    """Return the name of the kind, such as "orin-8mp-sm87-trt10.3.0".

    A plan holds the kernels that were the fastest on one GPU and the format of one version of
    TensorRT; elsewhere it fails to load, or loads and is slow.
    """
    capability = "".join(map(str, gpu.capability))
    counts = f"{gpu.multiprocessors}mp-sm{capability}-trt{tensorrt_version}"
    return device_name(gpu.name, counts)
