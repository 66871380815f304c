"""Policies that need no network, beside which learned ones are judged.

A policy takes what was seen, the workspace, random numbers, and the actions that have just changed
nothing, and returns an action, or None where there is nothing to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from compressed_grasp.action import ANGLES, Action, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from compressed_grasp.heightmap import HeightMap
    from compressed_grasp.workspace import Workspace

OBJECT_HEIGHT = 0.01
"""Metres above the table from which on it is an object, not noise."""

_DEEPER = 0.025  # metres that the fingers must find room below an object's top
_OPENING = 0.110
_FINGER = (0.010, 0.020)  # metres across the jaws and along them
_REPEATED = 0.015  # metres between two grasps that are taken as the same
_LEAST_CELLS = 4
_UNKNOWN = 10.0  # height [m] of what lies outside the workspace


class Policy(Protocol):
    """What decides on the next action."""

    def __call__(
        self,
        seen: HeightMap,
        workspace: Workspace,
        rng: np.random.Generator,
        useless: Sequence[Action],
    ) -> Action | None:
        """Choose; `useless` lists the actions since the last that changed the scene."""


def random_policy(
    seen: HeightMap, workspace: Workspace, rng: np.random.Generator, useless: Sequence[Action]
) -> Action | None:
    """Push towards, or grasp at, any cell of an object, along any angle; each half of the time."""
    del useless
    cell = _any_cell(seen, rng)
    if cell is None:
        return None
    angle_index = int(rng.integers(ANGLES))
    if rng.random() < 0.5:  # noqa: PLR2004
        return plan("grasp", cell, angle_index, seen, workspace)
    # From so far back that the push goes on through the cell.
    back = rng.uniform(0.02, 0.07) / workspace.resolution
    angle = angle_index * 2 * np.pi / ANGLES
    row, column = round(cell[0] - back * np.sin(angle)), round(cell[1] - back * np.cos(angle))
    limits = np.array(workspace.shape) - 1
    row, column = (int(value) for value in np.clip((row, column), 0, limits))
    return plan("push", (row, column), angle_index, seen, workspace)


def random_grasp_policy(
    seen: HeightMap, workspace: Workspace, rng: np.random.Generator, useless: Sequence[Action]
) -> Action | None:
    """Grasp at any cell of an object, along any angle."""
    del useless
    cell = _any_cell(seen, rng)
    if cell is None:
        return None
    return plan("grasp", cell, int(rng.integers(ANGLES)), seen, workspace)


def _any_cell(seen: HeightMap, rng: np.random.Generator) -> tuple[int, int] | None:
    """Draw the row and column of a cell that an object covers; None where there is no object."""
    rows, columns = np.nonzero(_objects(seen))
    if len(rows) < _LEAST_CELLS:
        return None
    k = rng.integers(len(rows))
    return int(rows[k]), int(columns[k])


def geometric_policy(
    seen: HeightMap, workspace: Workspace, rng: np.random.Generator, useless: Sequence[Action]
) -> Action | None:
    """Grasp where both open fingers find room beside an object, as near its middle as can be.

    Where they find room nowhere, a grasp at any object.
    """
    objects = _objects(seen)
    if np.count_nonzero(objects) < _LEAST_CELLS:
        return None
    # With a margin: what reaches over the workspace's border has its middle elsewhere.
    padded = np.pad(objects.astype(np.uint8), 1)
    middle = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    scores = np.stack([middle * each for each in grasp_room(seen, workspace)])
    radius = _REPEATED / workspace.resolution
    rows, columns = np.indices(seen.height.shape)
    for action in useless:
        near = np.hypot(rows - action.cell[0], columns - action.cell[1]) <= radius
        scores[action.angle_index % len(scores), near] = 0
    if not scores.any():
        return random_grasp_policy(seen, workspace, rng, useless)
    angle_index, row, column = (int(k) for k in np.unravel_index(scores.argmax(), scores.shape))
    return plan("grasp", (row, column), angle_index, seen, workspace)


def grasp_room(seen: HeightMap, workspace: Workspace) -> NDArray[np.bool_]:
    """Where the open fingers find room `_DEEPER` below what is in the cell between them.

    Outside the workspace there is none, as nobody looked.

    Returns:
        (ANGLES / 2, rows, columns); the other half of the angles is the same, jaws changed over.
    """
    height = np.nan_to_num(seen.height)
    rows, columns = height.shape
    side = int(np.ceil(np.hypot(rows, columns))) + 2
    size = [max(round(extent / workspace.resolution), 1) for extent in _FINGER]
    finger = np.ones((size[1], size[0]), np.uint8)
    away = round((_OPENING + _FINGER[0]) / 2 / workspace.resolution)
    room = []
    for index in range(ANGLES // 2):
        # Into a square where the jaws lie along the columns.
        turn = cv2.getRotationMatrix2D(
            ((columns - 1) / 2, (rows - 1) / 2), np.degrees(index * 2 * np.pi / ANGLES), 1.0
        )
        turn[:, 2] += (side - columns) / 2, (side - rows) / 2
        turned = cv2.warpAffine(
            height, turn, (side, side), flags=cv2.INTER_NEAREST, borderValue=_UNKNOWN
        )
        highest = np.pad(
            cv2.dilate(turned, finger), ((0, 0), (away, away)), constant_values=_UNKNOWN
        )
        under = np.maximum(highest[:, : -2 * away], highest[:, 2 * away :])
        free = (turned - under > _DEEPER).astype(np.uint8)
        back = cv2.warpAffine(
            free, turn, (columns, rows), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        )
        room.append(back.astype(bool))
    return np.stack(room)


def _objects(seen: HeightMap) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        higher: NDArray[np.bool_] = seen.height > OBJECT_HEIGHT
    return higher
