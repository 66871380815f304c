"""Where furniture, pictures, lamps and rugs of a room are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edge_worlds.rooms.furniture import AGAINST_A_WALL, FREE_STANDING
from edge_worlds.rooms.solids import Solid, SolidTable, box, cylinder

if TYPE_CHECKING:
    from collections.abc import Sequence

DEEPEST = 0.66
"""Metres that furniture against a wall takes of the room."""
_PASSAGE = 0.75
_TRIES = 200


def lay_out(
    rng: np.random.Generator,
    size: tuple[float, float, float],
    sheets: Sequence[int],
    prints: Sequence[int],
) -> list[Solid]:
    """Furnish a room of `size` metres whose floor is centred on the origin.

    Between free-standing pieces and everything else there is room to pass.
    """
    solids: list[Solid] = []
    for wall in range(4):
        solids += _along_wall(rng, size, wall, sheets)
    solids += _islands(rng, size, solids, sheets)
    for wall in range(4):
        solids += _pictures(rng, size, wall, prints)
    return solids + _lamps_and_rugs(rng, size, prints)


def _wall(size: tuple[float, float, float], wall: int) -> tuple[float, float, float]:
    """A wall's length, its distance from the centre, and the yaw of furniture that faces away."""
    along, across = (size[0], size[1]) if wall % 2 == 0 else (size[1], size[0])
    return along, across / 2, wall * np.pi / 2


def _at_wall(solids: list[Solid], wall: tuple[float, float, float], x: float) -> list[Solid]:
    """Put pieces made at the origin against a wall, `x` metres from its middle."""
    _, distance, yaw = wall
    px = np.cos(yaw) * x + np.sin(yaw) * distance
    py = np.sin(yaw) * x - np.cos(yaw) * distance
    return [solid.moved(float(px), float(py), yaw) for solid in solids]


def _dressed(rng: np.random.Generator, solids: list[Solid], sheets: Sequence[int]) -> list[Solid]:
    chosen = rng.choice(sheets, 2, replace=False)
    return [replace(solid, material=int(chosen[solid.material])) for solid in solids]


def _along_wall(
    rng: np.random.Generator, size: tuple[float, float, float], number: int, sheets: Sequence[int]
) -> list[Solid]:
    wall = _wall(size, number)
    # The corners belong to walls 0 and 2.
    end = wall[0] / 2 - (0.05 if number % 2 == 0 else DEEPEST + 0.05)
    x = -end + rng.uniform(0, 0.6)
    solids: list[Solid] = []
    while True:
        width = rng.uniform(0.6, 1.8)
        if x + width > end:
            return solids
        make = AGAINST_A_WALL[rng.integers(len(AGAINST_A_WALL))]
        piece = _dressed(rng, make(rng, width), sheets)
        solids += _at_wall(piece, wall, x + width / 2)
        x += width + rng.uniform(0.05, 1.2)


def _islands(
    rng: np.random.Generator,
    size: tuple[float, float, float],
    solids: list[Solid],
    sheets: Sequence[int],
) -> list[Solid]:
    wanted = 1 + int(size[0] * size[1] / 16)
    placed: list[Solid] = []
    for _ in range(_TRIES):
        if wanted == 0:
            break
        piece = FREE_STANDING[rng.integers(len(FREE_STANDING))](rng)
        reach = max(float(np.hypot(*s.centre[:2]) + np.hypot(*s.half[:2])) for s in piece)
        x, y = rng.uniform(-0.5, 0.5, 2) * (size[0], size[1])
        column = np.array([[x, y, z] for z in (0.2, 0.7, 1.2, 1.7)])
        table = SolidTable([*solids, *placed])
        to_walls = min(size[0] / 2 - abs(x), size[1] / 2 - abs(y)) - DEEPEST
        if min(table.distance(column).min(), to_walls) > reach + _PASSAGE:
            yaw = rng.uniform(0, np.pi)
            placed += [s.moved(x, y, yaw) for s in _dressed(rng, piece, sheets)]
            wanted -= 1
    return placed


def _pictures(
    rng: np.random.Generator, size: tuple[float, float, float], number: int, prints: Sequence[int]
) -> list[Solid]:
    wall = _wall(size, number)
    found: list[Solid] = []
    x = -wall[0] / 2 + rng.uniform(0.1, 0.5)
    while True:
        width, height = rng.uniform(0.25, 1.1), rng.uniform(0.25, 0.9)
        if x + width > wall[0] / 2 - 0.05:
            return found
        z = min(rng.uniform(1.2, 1.8) + height / 2, size[2] - 0.1 - height / 2)
        half = (width / 2, rng.uniform(0.008, 0.025), height / 2)
        piece = Solid((0, half[1], z), half, material=int(rng.choice(prints)))
        found += _at_wall([piece], wall, x + width / 2)
        x += width + rng.uniform(0.1, 0.9)


def _lamps_and_rugs(
    rng: np.random.Generator, size: tuple[float, float, float], prints: Sequence[int]
) -> list[Solid]:
    solids = []
    for _ in range(int(rng.integers(2, 5))):
        x, y = rng.uniform(-0.4, 0.4, 2) * (size[0], size[1])
        half_x, half_y, thick = rng.uniform((0.1, 0.1, 0.04), (0.5, 0.3, 0.2)).tolist()
        low, material = size[2] - thick, int(rng.choice(prints))
        if rng.integers(2):
            solids.append(cylinder((x, y, low), half_y, thick, material))
        else:
            corners = (x - half_x, y - half_y, low), (x + half_x, y + half_y, size[2])
            solids.append(box(*corners, material))
    for _ in range(int(rng.integers(1, 4))):
        half = (rng.uniform(0.4, 1.2), rng.uniform(0.3, 0.8), rng.uniform(0.004, 0.012))
        x, y = rng.uniform(-0.3, 0.3, 2) * (size[0], size[1])
        solids.append(Solid((x, y, half[2]), half, rng.uniform(0, np.pi), int(rng.choice(prints))))
    return solids
