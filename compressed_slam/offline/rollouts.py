"""What the engines are asked on the way through recordings, to calibrate eight bits on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compressed_slam.engines import EngineNetworks
from compressed_slam.offline.tracking_accuracy import track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from compressed_slam.offline.recorded import Recording
    from edge_compression.protocol import Arrays, Run

_NO_MEANS = np.zeros((0, 0), np.float32)  # each edge is to be its source's only one
_EDGES = 2  # that are kept of a step; all the edges of one look alike
# Few edges, and no refinement of the whole map: more of the same would only take longer.
_SETTINGS = {
    "window": 12,
    "max_edges": 36,
    "max_keyframes": 32,
    "max_backend_edges": 256,
    "backend_every": 1000,
}


def rollout_inputs(
    runs: Mapping[str, Run], recordings: Iterable[Callable[[], Recording]], count: int, seed: int
) -> Iterator[dict[str, Arrays]]:
    """Track recordings, and yield `count` inputs of each model from all along them.

    Late ones are as likely as early ones: hidden states drift late. The damping's are the states
    after any step, so that it has some where there is no keyframe yet.

    Args:
        runs: float engines, by model.
        recordings: to track, all of them.
        count: of inputs.
        seed: of the choice.
    """
    kept = {name: _Reservoir(count, seed) for name in runs}

    def keeping(name: str) -> Run:
        def run(inputs: Arrays) -> Arrays:
            outputs = runs[name](inputs)
            if name != "damping":
                kept[name].offer(inputs)
            if name == "update":
                kept["damping"].offer({"net": outputs["next_net"], "means": _NO_MEANS})
            return outputs

        return run

    networks = EngineNetworks({name: keeping(name) for name in runs})
    for opened in recordings:
        track(networks, opened(), **_SETTINGS)
    samples = [
        {name: reservoir.items[n] for name, reservoir in kept.items() if n < len(reservoir.items)}
        for n in range(count)
    ]
    yield from (sample for sample in samples if sample)


class _Reservoir:
    """A fair choice of `size` of all that is offered (Vitter 1985, algorithm R)."""

    def __init__(self, size: int, seed: int) -> None:
        self.items: list[Arrays] = []
        self._size = size
        self._random = np.random.default_rng(seed)
        self._offered = 0

    def offer(self, inputs: Arrays) -> None:
        self._offered += 1
        if len(self.items) < self._size:
            self.items.append(_few_edges(inputs))
        elif (place := self._random.integers(self._offered)) < self._size:
            self.items[place] = _few_edges(inputs)


def _few_edges(inputs: Arrays) -> Arrays:
    """Copy an input, of a step only the first edges, each as if it were its source's only one."""
    few = {name: array[:_EDGES].copy() for name, array in inputs.items()}
    if "means" in few:
        few["means"] = np.eye(len(few["net"]), dtype=np.float32)
    return few
