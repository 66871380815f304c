"""Pieces of furniture drawn from a random generator.

A piece against a wall stands on the floor with its back at y = 0, its front towards +y, and is as
wide along x as asked; a free-standing piece is centred on the origin. Material 0 is the piece's
body, 1 its details: doors, books, things that lie on it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from edge_worlds.rooms.solids import Solid, box, cylinder

if TYPE_CHECKING:
    from collections.abc import Callable

_BOARD = 0.03  # metres thick
_ROUND = 0.3  # of the things that lie about
_LOW = 1.5  # metres; on a lower cabinet there are things
_BOOKS = 0.8  # of a shelf; the rest is gaps
BODY, DETAIL = 0, 1


def _things(
    rng: np.random.Generator, count: int, area: tuple[float, float, float, float], level: float
) -> list[Solid]:
    """Small boxes and tins within x0 y0 x1 y1 of a surface at height `level`."""
    found = []
    for _ in range(count):
        half_x, half_y, half_z = rng.uniform((0.03, 0.03, 0.03), (0.14, 0.11, 0.17)).tolist()
        reach = float(np.hypot(half_x, half_y))
        if 2 * reach > min(area[2] - area[0], area[3] - area[1]):
            continue
        x = rng.uniform(area[0] + reach, area[2] - reach)
        y = rng.uniform(area[1] + reach, area[3] - reach)
        if rng.random() < _ROUND:
            found.append(cylinder((x, y, level), half_x, 2 * half_z, DETAIL))
        else:
            half, yaw = (half_x, half_y, half_z), rng.uniform(0, np.pi)
            found.append(Solid((x, y, level + half_z), half, yaw, DETAIL))
    return found


def cabinet(rng: np.random.Generator, width: float) -> list[Solid]:
    """A closed box with doors that stand out a little, and things on it when it is low."""
    depth, height = rng.uniform(0.35, 0.6), rng.uniform(0.5, 2.1)
    half = width / 2
    solids = [box((-half, 0, 0), (half, depth, height))]
    edges = np.linspace(-half, half, int(width / 0.5) + 2)
    for left, right in pairwise(edges):
        solids.append(
            box((left + 0.02, depth, 0.06), (right - 0.02, depth + 0.015, height - 0.04), DETAIL)
        )
    if height < _LOW:
        solids += _things(rng, int(rng.integers(1, 5)), (-half, 0, half, depth), height)
    return solids


def bookcase(rng: np.random.Generator, width: float) -> list[Solid]:
    """Open shelves with books and boxes on them."""
    depth, height = rng.uniform(0.28, 0.4), rng.uniform(1.0, 2.2)
    half = width / 2
    solids = [
        box((-half, 0, 0), (half, 0.015, height)),
        box((-half, 0.015, 0), (-half + _BOARD, depth, height)),
        box((half - _BOARD, 0.015, 0), (half, depth, height)),
    ]
    boards = np.linspace(0.05, height - _BOARD, int(height / 0.38) + 1)
    for low, high in pairwise(boards):
        solids.append(box((-half + _BOARD, 0.015, low), (half - _BOARD, depth, low + _BOARD)))
        x = -half + _BOARD
        while x < half - _BOARD - 0.06:
            thick = min(rng.uniform(0.05, 0.3), half - _BOARD - x)
            if rng.random() < _BOOKS:
                tall = (high - low - _BOARD) * rng.uniform(0.5, 0.97)
                front = depth * rng.uniform(0.6, 0.98)
                top = low + _BOARD + tall
                solids.append(box((x, 0.02, low + _BOARD), (x + thick, front, top), DETAIL))
            x += thick
    solids.append(box((-half + _BOARD, 0.015, boards[-1]), (half - _BOARD, depth, height)))
    return solids


def desk(rng: np.random.Generator, width: float) -> list[Solid]:
    """A table at the wall with a screen and things on it."""
    depth, height = rng.uniform(0.5, 0.62), rng.uniform(0.7, 0.78)
    half = width / 2
    solids = _table((-half, 0.02, half, depth), height, 0.025)
    screen = min(half - 0.05, rng.uniform(0.2, 0.35))
    x = rng.uniform(-half + screen, half - screen)
    solids += [
        box((x - 0.08, 0.08, height), (x + 0.08, 0.2, height + 0.02), DETAIL),
        box((x - 0.02, 0.12, height), (x + 0.02, 0.14, height + 0.15), DETAIL),
        box((x - screen, 0.14, height + 0.1), (x + screen, 0.17, height + 0.45), DETAIL),
    ]
    return solids + _things(rng, int(rng.integers(2, 6)), (-half, 0.2, half, depth), height)


def sofa(rng: np.random.Generator, width: float) -> list[Solid]:
    """A seat with a back, arms and cushions."""
    depth, seat, height = 0.62, rng.uniform(0.38, 0.46), rng.uniform(0.7, 0.95)
    half, arm = width / 2, rng.uniform(0.08, 0.16)
    solids = [
        box((-half, 0, 0), (half, 0.18, height)),
        box((-half + arm, 0.18, 0), (half - arm, depth, seat)),
        box((-half, 0.18, 0), (-half + arm, depth, seat + 0.2)),
        box((half - arm, 0.18, 0), (half, depth, seat + 0.2)),
    ]
    return solids + _things(rng, 3, (-half + arm, 0.18, half - arm, depth), seat)


def _table(
    area: tuple[float, float, float, float], height: float, leg: float, material: int = BODY
) -> list[Solid]:
    left, back, right, front = area
    solids = [box((left, back, height - 0.04), (right, front, height), material)]
    for x in (left + leg, right - leg):
        for y in (back + leg, front - leg):
            below = height - 0.04
            solids.append(Solid((x, y, below / 2), (leg, leg, below / 2), material=material))
    return solids


def table(rng: np.random.Generator) -> list[Solid]:
    """A table for the middle of a room, with things on it."""
    half_x, half_y = rng.uniform(0.35, 0.6), rng.uniform(0.3, 0.4)
    height = rng.uniform(0.45, 0.8)
    area = (-half_x, -half_y, half_x, half_y)
    return _table(area, height, 0.035) + _things(rng, int(rng.integers(3, 8)), area, height)


def crates(rng: np.random.Generator) -> list[Solid]:
    """A pile of boxes, each turned another way."""
    level, solids = 0.0, []
    for _ in range(int(rng.integers(1, 5))):
        half = rng.uniform((0.15, 0.12, 0.08), (0.34, 0.28, 0.24))
        centre = (rng.uniform(-0.05, 0.05), rng.uniform(-0.05, 0.05), level + half[2])
        material = int(rng.integers(2))
        solids.append(Solid(centre, (half[0], half[1], half[2]), rng.uniform(0, np.pi), material))
        level += 2 * half[2]
    return solids


def drum(rng: np.random.Generator) -> list[Solid]:
    """An upright cylinder, a smaller one on it."""
    radius, height = rng.uniform(0.15, 0.32), rng.uniform(0.3, 1.0)
    thin, tall = radius * rng.uniform(0.3, 0.8), rng.uniform(0.1, 0.5)
    lower = cylinder((0, 0, 0), radius, height)
    return [lower, cylinder((0, 0, height), thin, tall, DETAIL)]


AGAINST_A_WALL: tuple[Callable[[np.random.Generator, float], list[Solid]], ...] = (
    cabinet,
    bookcase,
    desk,
    sofa,
)
FREE_STANDING: tuple[Callable[[np.random.Generator], list[Solid]], ...] = (table, crates, drum)
