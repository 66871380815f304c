"""What the robot is told: push or grasp, where, along which of 16 angles, by which way points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressed_grasp.heightmap import HeightMap
    from compressed_grasp.workspace import Workspace

ANGLES = 16
"""Angle k is k * 22.5 degrees from the workspace's x axis towards its y axis."""

Kind = Literal["push", "grasp"]

PUSH_LENGTH = 0.1
_FINGER_WIDTH = 0.02
_GRASP_DEPTH = 0.04  # below what is seen, as in VPG
_CLEARANCE = 0.004  # above the table that the fingertips keep [m]
_PUSH_CLEARANCE = 0.005  # above what lies where a push begins [m]
_APPROACH = 0.15  # metres above


@dataclass(frozen=True)
class Action:
    """A push or a grasp.

    Attributes:
        kind: which of the two.
        cell: row and column of the height map: where a push begins, or a grasp's middle.
        angle_index: k of the angle of the push, or of the line across the jaws.
        waypoints: (n, 3) of the tool centre point in the workspace frame [m]. Push: above its
            begin, begin, end, above its end; grasp: above, at, and above the object again.
    """

    kind: Kind
    cell: tuple[int, int]
    angle_index: int
    waypoints: NDArray[np.float64]

    @property
    def angle(self) -> float:
        """Radians from the workspace's x axis towards its y axis."""
        return self.angle_index * 2 * np.pi / ANGLES

    @property
    def rotation(self) -> NDArray[np.float64]:
        """Tool in the workspace frame, (3, 3): z is the approach, x the push or across the jaws."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cosine, sine, 0.0], [sine, -cosine, 0.0], [0.0, 0.0, -1.0]])


def plan(
    kind: Kind, cell: tuple[int, int], angle_index: int, seen: HeightMap, workspace: Workspace
) -> Action:
    """Find the way points of an action at a cell of the height map.

    The fingertips stay above the table and within the workspace: a push ends at its border. Cells
    that were not seen count as bare table.
    """
    x, y = workspace.position(*cell)
    table = workspace.z[0]
    up = np.array([0.0, 0.0, _APPROACH])
    angle = angle_index * 2 * np.pi / ANGLES
    if kind == "grasp":
        depth = max(_highest(seen, cell, 1) - _GRASP_DEPTH, _CLEARANCE)
        at = np.array([x, y, table + depth])
        return Action(kind, cell, angle_index, np.stack([at + up, at, at + up]))
    reach = round(_FINGER_WIDTH / 2 / workspace.resolution)
    begin = np.array([x, y, table + _highest(seen, cell, reach) + _PUSH_CLEARANCE])
    direction = np.array([np.cos(angle), np.sin(angle), 0.0])
    end = begin + _room(begin, direction, workspace) * direction
    return Action(kind, cell, angle_index, np.stack([begin + up, begin, end, end + up]))


def push_heights(seen: HeightMap, workspace: Workspace) -> NDArray[np.float32]:
    """Height of the fingertips above the table in pushes that begin in each cell, as `plan` does.

    Returns:
        (rows, columns) metres.
    """
    reach = round(_FINGER_WIDTH / 2 / workspace.resolution)
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    highest = cv2.dilate(np.nan_to_num(seen.height), window)
    heights: NDArray[np.float32] = (highest + _PUSH_CLEARANCE).astype(np.float32)
    return heights


def _highest(seen: HeightMap, cell: tuple[int, int], reach: int) -> float:
    """Height [m] of the highest of the cells up to `reach` away."""
    row, column = cell
    window = seen.height[
        max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1
    ]
    return float(np.nan_to_num(window).max())


def _room(
    begin: NDArray[np.float64], direction: NDArray[np.float64], workspace: Workspace
) -> float:
    """How far [m] a push gets before the workspace ends, `PUSH_LENGTH` at most."""
    room = PUSH_LENGTH
    for axis, (low, high) in enumerate((workspace.x, workspace.y)):
        if direction[axis]:
            border = high if direction[axis] > 0 else low
            room = min(room, (border - begin[axis]) / direction[axis])
    return max(room, 0.0)
