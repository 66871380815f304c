"""Lamps of a room, and how much of their light reaches a point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_worlds.rooms.kernels import find_lit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_worlds.rooms.solids import SolidTable

_HALVING = 2.5  # metres at which a lamp's light is half of what it is close to it
_BRIGHTEST = 1.5
_BIAS = 0.02  # metres before a surface where what casts a shadow on it must end


@dataclass(frozen=True)
class Lights:
    """Point lights with an ambient share; colours are BGR, 1 shows a surface as it is.

    Attributes:
        positions: (n, 3) metres.
        colours: (n, 3).
        ambient: (3,).
    """

    positions: NDArray[np.float64]
    colours: NDArray[np.float64]
    ambient: NDArray[np.float64]

    def on(
        self, solids: SolidTable, points: NDArray[np.float64], normals: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Light (m, 3) on points (m, 3) with unit normals (m, 3), behind the solids' shadows."""
        total = np.tile(self.ambient, (len(points), 1))
        lit = np.empty(len(points))
        for position, colour in zip(self.positions, self.colours, strict=True):
            rays = points - position
            distance = np.linalg.norm(rays, axis=1)
            find_lit(solids.seen_from(position), rays, _BIAS / distance, lit)
            cosine = np.maximum(-(rays * normals).sum(axis=1), 0.0) / distance
            strength = lit * cosine / (1.0 + (distance / _HALVING) ** 2)
            total += strength[:, None] * colour
        # What is close to a lamp stays below white, as film does it.
        return (_BRIGHTEST * (1.0 - np.exp(-total))).astype(np.float32)


def draw_lights(rng: np.random.Generator, size: tuple[float, float, float]) -> Lights:
    """Two to four lamps below the ceiling of a room of `size` metres, none quite white."""
    count = int(rng.integers(2, 5))
    places = rng.uniform(-0.35, 0.35, (count, 3)) * size
    places[:, 2] = size[2] - 0.4
    strength = rng.uniform(0.6, 1.4, (count, 1))
    colours = rng.uniform(0.8, 1.0, (count, 3)) * strength * (3.0 / strength.sum())
    return Lights(places, colours, rng.uniform(0.42, 0.5, 3))
