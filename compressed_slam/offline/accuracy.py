"""How good networks are for SLAM: positions of tracked recordings, and the flow of pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compressed_slam.droid_operator import DroidOperator
from compressed_slam.encoder import STRIDE
from compressed_slam.engines import EngineNetworks
from compressed_slam.frame import Frame
from compressed_slam.offline.evaluating import TRACKING
from compressed_slam.offline.tracking_accuracy import track
from compressed_slam.projection import pixel_grid
from compressed_slam.training.accuracy import FlowErrors
from compressed_slam.training.data import judged_pairs, recordings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal

    from numpy.typing import NDArray

    from compressed_slam.droid_operator import Networks
    from compressed_slam.training.data import SlamData

_ITERATIONS = 6  # of the flow of a pair


def accuracy(
    runs: Mapping[str, Callable[[dict[str, NDArray[Any]]], dict[str, NDArray[Any]]]],
    data: SlamData,
    split: Literal["validation", "held_out"],
) -> dict[str, float]:
    """Track the split's recordings and match its pairs; `runs` are the four models.

    Returns:
        What `TRACKING` and `FLOW` say.
    """
    networks = EngineNetworks(runs)
    tracked = [track(networks, opened()).row() for opened in recordings(data, split)]
    positions = {name: float(np.mean([row[name] for row in tracked])) for name in TRACKING}
    errors = FlowErrors()
    for kind, pair in judged_pairs(data, split):
        flow, weight = pair_flow(networks, pair.first, pair.second)
        errors.add(kind, flow, weight, pair.flow)
    return {**positions, **errors.metrics()}


def pair_flow(
    networks: Networks, first: NDArray[np.uint8], second: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return flow [cells] and weight, (2, h, w) both, from one picture (H, W, 3) to another."""
    operator = DroidOperator(networks)
    source, target = (operator.view(Frame(0, bgr)) for bgr in (first, second))
    matcher = operator.matcher(lasting=True)
    matcher.add([0], [source], [target])
    grid = pixel_grid(first.shape[0] // STRIDE, first.shape[1] // STRIDE)[None]
    seen = grid
    for _ in range(_ITERATIONS):
        found = matcher.refine(seen, seen)
        seen = seen + found.delta
    flow, weight = (maps[0].permute(2, 0, 1) for maps in (seen - grid, found.weight))
    return flow.numpy(), weight.numpy()
