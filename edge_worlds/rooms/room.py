"""A furnished room from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_worlds.rooms.baking import Atlas, bake, texture_size
from edge_worlds.rooms.kernels import FACES
from edge_worlds.rooms.layout import lay_out
from edge_worlds.rooms.lighting import draw_lights
from edge_worlds.rooms.materials import material, palette
from edge_worlds.rooms.solids import Solid, SolidTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHEETS = 9
_PRINTS = 5
_SHEET_SIZE = (512, 512)
_MEASURED_AT_ONCE = 256  # points; what is between them and all solids stays in the cache


@dataclass(frozen=True)
class Room:
    """A closed room; its floor is centred on the origin, z is up.

    Attributes:
        seed: what it was made from.
        size: x y z, metres.
        solids: row 0 is the room itself, the others stand in it.
        atlas: what their faces look like.
    """

    seed: int
    size: tuple[float, float, float]
    solids: SolidTable
    atlas: Atlas

    def clearance(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metres from points (..., 3) to the nearest surface, (...).

        Negative within furniture and outside the room.
        """
        flat = points.reshape(-1, 3)
        nearest = np.empty(len(flat))
        for start in range(0, len(flat), _MEASURED_AT_ONCE):
            block = slice(start, start + _MEASURED_AT_ONCE)
            distance = self.solids.distance(flat[block])
            distance[:, 0] *= -1
            nearest[block] = distance.min(axis=1)
        return nearest.reshape(points.shape[:-1])


def make_room(seed: int) -> Room:
    """A room of 4 to 8 m by 4 to 8 m, 2.5 to 3 m high; the same seed gives the same room."""
    rng = np.random.default_rng(seed)
    length, width, height = rng.uniform((4, 4, 2.5), (8, 8, 3)).tolist()
    size = (length, width, height)
    shell = Solid((0, 0, height / 2), (length / 2, width / 2, height / 2))
    calm, lively = palette(rng, 8, (0.05, 0.45)), palette(rng, 12, (0.2, 0.9))
    materials = [
        [
            material(rng, texture_size(shell, face), calm, rng.uniform(0.3, 0.6))
            for face in range(FACES)
        ]
    ]
    furniture = range(1, 1 + _SHEETS)
    prints = range(1 + _SHEETS, 1 + _SHEETS + _PRINTS)
    materials += [[material(rng, _SHEET_SIZE, calm, rng.uniform(0.4, 1.0))] for _ in furniture]
    materials += [[material(rng, _SHEET_SIZE, lively, 1.0)] for _ in prints]
    solids = [shell, *lay_out(rng, size, furniture, prints)]
    atlas = bake(rng, solids, materials, draw_lights(rng, size))
    return Room(seed, size, SolidTable(solids), atlas)
