"""Size, work and speed of networks: what every variant's row in the report is made of."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor, nn

    from edge_compression.protocol import ExportModel

_PERCENTILES = (50, 95, 99)
_FEWEST_ROUNDS = 10


def parameters(*networks: nn.Module) -> int:
    """Count the networks' weights and biases, those that they share once."""
    return sum(
        size for size in {id(p): p.numel() for net in networks for p in net.parameters()}.values()
    )


def macs(network: nn.Module, inputs: Mapping[str, Tensor]) -> int:
    """Count multiply-accumulates of convolutions and matrix products for these inputs.

    Taps on the padding are counted, bias, activations and resizing are not, as is usual.
    """
    # Here, because `compress build` takes times with this module on robots without torch.
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    # Shapes tell the work: nothing is computed.
    shapes_alone = FakeTensorMode(allow_non_fake_inputs=True)
    with torch.no_grad(), shapes_alone, FlopCounterMode(display=False) as counter:
        network(*inputs.values())
    flops: int = counter.get_total_flops()
    return flops // 2


def sizes(
    models: Mapping[str, ExportModel], wanted: Iterable[str] = ("macs", "parameters")
) -> dict[str, int]:
    """Return what is wanted of what pruning lessens.

    "macs" are those of one frame or decision, and take a run of every model; "parameters" are of
    all models.
    """
    found = {}
    for name in wanted:
        if name == "macs":
            each = (
                model.calls * macs(model.network, model.examples[0]) for model in models.values()
            )
            found[name] = round(sum(each))
        else:
            found[name] = parameters(*(model.network for model in models.values()))
    return found


def latencies(
    runs: Mapping[str, Callable[[], object]], *, rounds: int = 200, seconds: float = 30.0
) -> dict[str, dict[str, float]]:
    """Time the runs in turns, so that a busy or hot machine slows all of them alike.

    There are `rounds` turns, or as many as begin within `seconds`, but at least 10.

    Returns:
        Milliseconds by run and percentile: p50, p95, p99.
    """
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    end = time.monotonic() + seconds
    for turn in range(rounds):
        if turn >= _FEWEST_ROUNDS and time.monotonic() > end:
            break
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            samples[name].append(1e3 * (time.perf_counter() - start))
    return {
        name: {
            f"p{percentile}": round(float(np.percentile(times, percentile)), 4)
            for percentile in _PERCENTILES
        }
        for name, times in samples.items()
    }
