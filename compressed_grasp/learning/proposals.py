"""What a network makes of a picture: actions to try next, and what a state is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from compressed_grasp.action import ANGLES
from compressed_grasp.learning.trials import SPACE, to_metres
from compressed_grasp.policies import OBJECT_HEIGHT
from compressed_grasp.q_policy import allowed_actions, object_cells

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressed_grasp.heightmap import HeightMap
    from compressed_grasp.learning.trials import Cell
    from compressed_grasp.network import GraspNet

_GRASPS, _PUSHES = 14, 6  # proposed in a state
_TEMPERATURE = 0.05
_BATCH = 8


class NetworkProposer:
    """Draws actions by their value, the more likely the more they are worth (Boltzmann)."""

    def __init__(self, network: GraspNet) -> None:
        """Ask this network, on the CPU."""
        self._network = network.cpu().eval()

    def __call__(self, seen: HeightMap, rng: np.random.Generator) -> tuple[list[Cell], list[Cell]]:
        """Return grasps and pushes."""
        height = torch.from_numpy(np.nan_to_num(seen.height))[None, None]
        with torch.no_grad():
            q = self._network(height)[0].numpy()
        allowed = allowed_actions(seen, object_cells(seen), SPACE)
        return (
            _drawn(q[ANGLES:], allowed[ANGLES:], _GRASPS, rng),
            _drawn(q[:ANGLES], allowed[:ANGLES], _PUSHES, rng),
        )


def _drawn(
    q: NDArray[np.float32], allowed: NDArray[np.bool_], count: int, rng: np.random.Generator
) -> list[Cell]:
    # The largest of values with Gumbel noise are a Boltzmann sample without replacement.
    keys = np.where(allowed, q / _TEMPERATURE + rng.gumbel(size=q.shape), -np.inf)
    count = min(count, int(np.count_nonzero(allowed)))
    if not count:
        return []
    best = np.argpartition(keys, -count, axis=None)[-count:]
    angle, row, column = np.unravel_index(best, q.shape)
    return [(int(r), int(c), int(a)) for r, c, a in zip(row, column, angle, strict=True)]


@torch.no_grad()
def grasp_values(network: GraspNet, heights: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the value (n,) of the best grasp at an object of each state, 0 where there is none.

    It is the mean over 3x3 cells, as the largest of many single values is too large.
    """
    device = next(network.parameters()).device
    values = []
    for begin in range(0, len(heights), _BATCH):
        height = torch.from_numpy(to_metres(heights[begin : begin + _BATCH]))[:, None].to(device)
        grasps = network.logits(height)[:, ANGLES:].sigmoid()
        smooth = functional.avg_pool2d(grasps, 3, 1, 1)
        best = (smooth * (height > OBJECT_HEIGHT)).amax(dim=(1, 2, 3))
        values.append(best.cpu().numpy())
    return np.concatenate(values) if values else np.empty(0, np.float32)
