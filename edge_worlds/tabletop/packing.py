"""Packed scenes: blocks of any shape pushed together until they touch, and rows of long boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge_worlds.tabletop.scene import COLORS, HALF_WORKSPACE, Scene, SceneObject, turn
from edge_worlds.tabletop.shapes import box, random_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_worlds.tabletop.shapes import Shape

_FAR = 0.4  # metres between the middles of two blocks that certainly do not touch
_STEP = 0.0005  # metres
_GAP = (0.0003, 0.002)  # metres between neighbours
_LIE_DOWN = 0.3  # share of the blocks
_ROW_BOX = (0.115, 0.057, 0.03), (0.145, 0.068, 0.055)  # least and largest extents [m]
_ROW_SHIFT = 0.008  # metres by which a box of a row lies before or behind its neighbours


def packed_blocks(
    rng: np.random.Generator, count: int, loose: int = 0, shapes: Sequence[Shape] = ()
) -> Scene:
    """Draw a group of blocks that stand or lie against each other, and some apart from it.

    Each comes from some side until it meets the others. Half of the groups are aligned, as blocks
    in a box are; the others are turned at random.

    Args:
        rng: what chance there is.
        count: of blocks in the group.
        loose: blocks apart.
        shapes: to choose from; none: `random_shape`.
    """
    heading = rng.uniform(0, 2 * np.pi)
    aligned = rng.random() < 0.5  # noqa: PLR2004
    objects: list[SceneObject] = []
    outlines: list[NDArray[np.float64]] = []
    for k in range(count + loose):
        shape = shapes[int(rng.integers(len(shapes)))] if shapes else random_shape(rng)
        yaw = (
            heading + rng.integers(4) * np.pi / 2
            if aligned and k < count
            else rng.uniform(0, 2 * np.pi)
        )
        rotation = turn(2, yaw)
        if rng.random() < _LIE_DOWN:
            rotation = rotation @ turn(int(rng.integers(2)), np.pi / 2)
        points = shape.points() @ rotation.T
        outline = points[:, :2]
        if outlines:
            side = yaw + rng.integers(4) * np.pi / 2 if aligned else rng.uniform(0, 2 * np.pi)
            towards = np.array([np.cos(side), np.sin(side)])
            gap = rng.uniform(*_GAP) if k < count else rng.uniform(0.03, 0.1)
            place = _meet(outline, outlines, towards) - gap * towards
        else:
            place = np.zeros(2)
        outlines.append(outline + place)
        color = tuple(COLORS[k % len(COLORS)])
        position = np.array([*place, -points[:, 2].min()])
        objects.append(SceneObject(shape, color, position, rotation))
    return Scene("packed_blocks", _put_on_table(objects, outlines, rng))


def tight_row(rng: np.random.Generator, count: int) -> Scene:
    """Draw boxes side by side that can be grasped one by one, but only when they were moved apart.

    Jaws of 110 mm reach neither over a box's length nor across two boxes, and no finger goes
    between two. Where a box is higher than its neighbour, a push over that one meets it.

    Args:
        rng: what chance there is.
        count: of boxes, 2 to 5; more reach out of the workspace.
    """
    heading = turn(2, rng.uniform(0, 2 * np.pi))
    objects: list[SceneObject] = []
    outlines: list[NDArray[np.float64]] = []
    side = 0.0
    for k in range(count):
        extents = rng.uniform(*_ROW_BOX)
        shape = box(*extents)
        shifted = rng.uniform(-_ROW_SHIFT, _ROW_SHIFT)
        middle = heading @ (shifted, side + extents[1] / 2, extents[2] / 2)
        side += extents[1] + rng.uniform(*_GAP)
        outlines.append((shape.points() @ heading.T + middle)[:, :2])
        objects.append(SceneObject(shape, tuple(COLORS[k % len(COLORS)]), middle, heading))
    return Scene("tight_row", _put_on_table(objects, outlines, rng))


def _meet(
    outline: NDArray[np.float64],
    others: Sequence[NDArray[np.float64]],
    towards: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return where (2,) a block that comes along `towards` meets the convex hull of another."""
    target = others[0].mean(axis=0)
    distances = np.arange(_FAR, 0, -_STEP)
    hulls = [_hull(each) for each in others]
    moving = _hull(outline)
    free = distances[0]
    # It comes from afar: the first step that overlaps ends it. Bisection would pass through blocks.
    for distance in distances[::16]:
        if _overlaps(moving + target - distance * towards, hulls):
            break
        free = distance
    fine = np.arange(free, max(free - 16 * _STEP, 0), -_STEP)
    for distance in fine:
        if _overlaps(moving + target - distance * towards, hulls):
            break
        free = distance
    place: NDArray[np.float64] = target - free * towards
    return place


def _hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    hull = cv2.convexHull(points.astype(np.float32))[:, 0]
    return hull.astype(np.float64)


def _overlaps(hull: NDArray[np.float64], others: Sequence[NDArray[np.float64]]) -> bool:
    return any(_intersect(hull, other) for other in others)


def _intersect(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    """Whether two convex polygons (n, 2) do: no edge's normal separates them."""
    for polygon in (first, second):
        edges = np.roll(polygon, -1, axis=0) - polygon
        normals = np.stack([-edges[:, 1], edges[:, 0]])
        a, b = first @ normals, second @ normals
        if ((a.max(axis=0) <= b.min(axis=0)) | (b.max(axis=0) <= a.min(axis=0))).any():
            return False
    return True


def _put_on_table(
    objects: Sequence[SceneObject],
    outlines: Sequence[NDArray[np.float64]],
    rng: np.random.Generator,
) -> tuple[SceneObject, ...]:
    """Move all so that they lie in the workspace, as far as they fit."""
    corners = np.concatenate(outlines)
    low, high = corners.min(axis=0), corners.max(axis=0)
    room = np.maximum(HALF_WORKSPACE - (high - low) / 2 - 0.02, 0)
    offset = np.append(rng.uniform(-room, room) - (low + high) / 2, 0)
    return tuple(
        SceneObject(each.shape, each.color, each.position + offset, each.rotation)
        for each in objects
    )
