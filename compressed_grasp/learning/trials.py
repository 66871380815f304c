"""Trials: many grasps and pushes are tried on one picture, each from the same state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from compressed_grasp.action import ANGLES, plan
from compressed_grasp.learning.scenes import draw_camera, draw_faults, draw_scene
from compressed_grasp.policies import grasp_room
from compressed_grasp.routine import changed
from compressed_grasp.simulation import SimulatedTable
from compressed_grasp.workspace import Workspace
from edge_worlds.tabletop.world import TabletopWorld

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from compressed_grasp.action import Action, Kind
    from compressed_grasp.heightmap import HeightMap

SPACE = Workspace.square(112)
"""What the network sees: cells of 4 mm."""

_UNSEEN = 255
_MILLIMETRES = 1000.0
_STATES = 4  # of a scene, at most
_GRASPS, _PUSHES = 32, 10  # tried in a state
_OBJECT = 0.01  # metres above the table
_BACK = (0.02, 0.07)  # metres before an object from where a push begins
_ANYWHERE = 0.15  # share of the pushes that begin anywhere
_GO_ON_WITH_GRASP = 0.6

Cell = tuple[int, int, int]
"""Row, column and index of the angle."""


class Proposer(Protocol):
    """A policy's part in the trials: what it would do is tried, too."""

    def __call__(self, seen: HeightMap, rng: np.random.Generator) -> tuple[list[Cell], list[Cell]]:
        """Return a few grasps and pushes."""


@dataclass(frozen=True)
class Trials:
    """What was tried in some states, and what came of it.

    Attributes:
        heights: (states, 112, 112) uint8, millimetres above the table; 255 where unseen.
        grasps: (n, 5) int32: state, row, column, angle, 1 if it lifted an object else 0.
        pushes: (n, 5) int32: state, row, column, angle, and where `after` shows what came of it;
            -1 where nothing changed, or an object was pushed out of the workspace.
        after: (changed, 112, 112) uint8, as `heights`.
        colors: (states, 112, 112, 3) uint8 RGB, 0 where unseen; None where they were not recorded.
    """

    heights: NDArray[np.uint8]
    grasps: NDArray[np.int32]
    pushes: NDArray[np.int32]
    after: NDArray[np.uint8]
    colors: NDArray[np.uint8] | None = None


def to_millimetres(seen: HeightMap) -> NDArray[np.uint8]:
    """Pack heights into bytes; what is higher than 254 mm is as high."""
    rounded = np.clip(np.rint(np.nan_to_num(seen.height) * _MILLIMETRES), 0, _UNSEEN - 1)
    return np.where(np.isnan(seen.height), _UNSEEN, rounded).astype(np.uint8)


def to_metres(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return heights [m] as the network takes them, 0 where unseen."""
    metres: NDArray[np.float32] = np.where(packed == _UNSEEN, 0, packed / _MILLIMETRES).astype(
        np.float32
    )
    return metres


def make_trials(
    rng: np.random.Generator,
    scenes: int,
    propose: Proposer | None = None,
    *,
    colored: bool = False,
) -> Trials:
    """Try grasps and pushes in scenes drawn at random, in up to four states of each.

    `colored` records colours, too; the trials are the same.
    """
    parts = [part for _ in range(scenes) for part in _scene_trials(rng, propose, colored=colored)]
    return join(parts)


def join(parts: Sequence[Trials]) -> Trials:
    """Put trials together."""
    grasps, pushes = [], []
    states = changes = 0
    for part in parts:
        grasps.append(part.grasps + np.array([states, 0, 0, 0, 0], np.int32))
        moved = part.pushes + np.array([states, 0, 0, 0, 0], np.int32)
        moved[:, 4] += np.where(moved[:, 4] >= 0, changes, 0)
        pushes.append(moved)
        states += len(part.heights)
        changes += len(part.after)
    colors = [part.colors for part in parts if part.colors is not None]
    return Trials(
        np.concatenate([part.heights for part in parts]),
        np.concatenate(grasps),
        np.concatenate(pushes),
        np.concatenate([part.after for part in parts]),
        np.concatenate(colors) if len(colors) == len(parts) else None,
    )


def _scene_trials(
    rng: np.random.Generator, propose: Proposer | None, *, colored: bool
) -> Iterator[Trials]:
    world = TabletopWorld(draw_scene(rng))
    table = SimulatedTable(world, draw_camera(rng), SPACE, draw_faults(rng), rng, colored=colored)
    for _ in range(_STATES):
        if not table.remaining:
            return
        seen = table.observe()
        if not (np.nan_to_num(seen.height) > _OBJECT).any():
            return
        state, before, remaining = world.save(), table.truth(), table.remaining
        proposed = propose(seen, rng) if propose else ([], [])
        grasps = proposed[0] + _grasp_candidates(seen, rng, _GRASPS - len(proposed[0]))
        pushes = proposed[1] + _push_candidates(seen, rng, _PUSHES - len(proposed[1]))
        successes = []
        for cell in grasps:
            world.restore(state)
            successes.append(table.attempt(_action("grasp", cell, seen)))
        after: list[NDArray[np.uint8]] = []
        shown = []
        for cell in pushes:
            world.restore(state)
            table.attempt(_action("push", cell, seen))
            useful = table.remaining == remaining and changed(before, table.truth(), SPACE)
            shown.append(len(after) if useful else -1)
            if useful:
                after.append(to_millimetres(table.observe()))
        yield Trials(
            to_millimetres(seen)[None],
            _rows(grasps, successes),
            _rows(pushes, shown),
            np.stack(after) if after else np.empty((0, *SPACE.shape), np.uint8),
            seen.color[None] if colored else None,
        )
        world.restore(state)
        chosen = _next_action(grasps, successes, pushes, shown, rng)
        if chosen is None:
            return
        table.attempt(_action(*chosen, seen))


def _rows(cells: Sequence[Cell], results: Sequence[int]) -> NDArray[np.int32]:
    rows = [(0, *cell, int(result)) for cell, result in zip(cells, results, strict=True)]
    return np.array(rows, np.int32).reshape(-1, 5)


def _next_action(
    grasps: Sequence[Cell],
    successes: Sequence[bool],
    pushes: Sequence[Cell],
    shown: Sequence[int],
    rng: np.random.Generator,
) -> tuple[Kind, Cell] | None:
    """Choose what leads to the scene's next state; None where nothing that was tried does."""
    good = [cell for cell, success in zip(grasps, successes, strict=True) if success]
    moving = [cell for cell, index in zip(pushes, shown, strict=True) if index >= 0]
    if good and (not moving or rng.random() < _GO_ON_WITH_GRASP):
        return "grasp", good[int(rng.integers(len(good)))]
    if moving:
        return "push", moving[int(rng.integers(len(moving)))]
    return None


def _action(kind: Kind, cell: Cell, seen: HeightMap) -> Action:
    row, column, angle_index = cell
    return plan(kind, (row, column), angle_index, seen, SPACE)


def _grasp_candidates(seen: HeightMap, rng: np.random.Generator, count: int) -> list[Cell]:
    """Half where both fingers find room, half anywhere on objects."""
    free = np.argwhere(grasp_room(seen, SPACE) & _objects(seen))
    chosen = [
        (int(row), int(column), int(angle + ANGLES // 2 * rng.integers(2)))
        for angle, row, column in free[rng.integers(len(free), size=count // 2 if len(free) else 0)]
    ]
    covered = np.argwhere(_objects(seen))
    for row, column in covered[rng.integers(len(covered), size=count - len(chosen))]:
        chosen.append((int(row), int(column), int(rng.integers(ANGLES))))
    return chosen


def _push_candidates(seen: HeightMap, rng: np.random.Generator, count: int) -> list[Cell]:
    """Most begin a little before an object, so that they go through it."""
    covered = np.argwhere(_objects(seen))
    limits = np.array(SPACE.shape) - 1
    chosen = []
    for _ in range(count):
        angle_index = int(rng.integers(ANGLES))
        angle = angle_index * 2 * np.pi / ANGLES
        back = rng.uniform(*_BACK) / SPACE.resolution
        cell = covered[rng.integers(len(covered))] - back * np.array([np.sin(angle), np.cos(angle)])
        if rng.random() < _ANYWHERE:
            cell = rng.integers(limits + 1)
        row, column = np.clip(np.rint(cell).astype(int), 0, limits)
        chosen.append((int(row), int(column), angle_index))
    return chosen


def _objects(seen: HeightMap) -> NDArray[np.bool_]:
    covered: NDArray[np.bool_] = np.nan_to_num(seen.height) > _OBJECT
    return covered
