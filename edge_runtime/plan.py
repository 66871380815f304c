"""The name of a TensorRT plan: it says on which kind of device the plan runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.cuda import Gpu


def plan_name(gpu: Gpu, tensorrt_version: str) -> str:
    """Return the plan's path in a bundle, such as "plans/orin-8mp-sm87-trt10.3.0.plan".

    A plan holds the kernels that were the fastest on one GPU and the format of one version of
    TensorRT; elsewhere it fails to load, or loads and is slow.
    """
    name = re.sub(r"[^a-z0-9]+", "-", gpu.name.lower()).strip("-")
    capability = "".join(map(str, gpu.capability))
    return f"plans/{name}-{gpu.multiprocessors}mp-sm{capability}-trt{tensorrt_version}.plan"
