"""Size, work and speed of networks: what every variant's row in the report is made of."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from edge_compression.protocol import Arrays
    from edge_runtime.engine import Engine

_PERCENTILES = (50, 95, 99)
_FEWEST_ROUNDS = 10


def parameters(network: nn.Module) -> int:
    """Count the network's weights and biases."""
    return sum(parameter.numel() for parameter in network.parameters())


def macs(network: nn.Module, inputs: Mapping[str, Tensor]) -> int:
    """Count multiply-accumulates of convolutions and matrix products for these inputs.

    Taps on the padding are counted, bias, activations and resizing are not, as is usual.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*inputs.values())
    flops: int = counter.get_total_flops()
    return flops // 2


def latencies(
    engines: Mapping[str, Engine], inputs: Arrays, *, rounds: int = 200, seconds: float = 30.0
) -> dict[str, dict[str, float]]:
    """Time the engines in turns, so that a busy or hot machine slows all of them alike.

    There are `rounds` turns, or as many as begin within `seconds`, but at least 10.

    Returns:
        Milliseconds by engine and percentile: p50, p95, p99.
    """
    samples: dict[str, list[float]] = {name: [] for name in engines}
    for engine in engines.values():
        engine.run(inputs)
    end = time.monotonic() + seconds
    for turn in range(rounds):
        if turn >= _FEWEST_ROUNDS and time.monotonic() > end:
            break
        for name, engine in engines.items():
            start = time.perf_counter()
            engine.run(inputs)
            samples[name].append(1e3 * (time.perf_counter() - start))
    return {
        name: {
            f"p{percentile}": round(float(np.percentile(times, percentile)), 4)
            for percentile in _PERCENTILES
        }
        for name, times in samples.items()
    }
