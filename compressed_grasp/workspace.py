"""The box above a table that the robot works in, and its grid of cells seen from above."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_CELLS = 4096  # along one side
_ROUNDING = 1e-6  # a side of so many cells more is still a whole number of them


@dataclass(frozen=True)
class Workspace:
    """A box in the workspace frame (z up, against gravity), cut into square cells from above.

    Cell (row, column) holds x from `x[0] + column * resolution` and y from
    `y[0] + row * resolution`, each up to the next cell.

    Attributes:
        x: least and largest x [m]; along the columns.
        y: least and largest y [m]; along the rows.
        z: the table's surface, and the height [m] from where on nothing is looked at.
        resolution: side of a cell [m].
    """

    x: tuple[float, float]
    y: tuple[float, float]
    z: tuple[float, float]
    resolution: float

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            SettingError: A limit is no number or the box is empty, or has too many cells.
        """
        limits = [*self.x, *self.y, *self.z, self.resolution]
        if not np.isfinite(limits).all() or not self.resolution > 0:
            message = f"workspace {self} is refused; give finite limits and a resolution above 0"
            raise SettingError(message)
        for name in ("x", "y", "z"):
            low, high = getattr(self, name)
            if not low < high:
                message = f"workspace {name} [{low:g}, {high:g}] is empty; give [least, largest]"
                raise SettingError(message)
        if not 1 <= min(self.shape) <= max(self.shape) <= _MOST_CELLS:
            rows, columns = self.shape
            message = (
                f"workspace of {rows}x{columns} cells is refused; give a resolution that makes 1 "
                f"to {_MOST_CELLS} cells along each side"
            )
            raise SettingError(message)

    @classmethod
    def square(
        cls,
        cells: int,
        *,
        size: float = 0.448,
        centre: tuple[float, float] = (0.0, 0.0),
        table: float = 0.0,
        height: float = 0.4,
    ) -> Workspace:
        """Return a square of side `size` [m] about `centre`, up to `height` above the `table`."""
        half = size / 2
        x, y = ((middle - half, middle + half) for middle in centre)
        return cls(x, y, (table, table + height), size / cells)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a height map; the last may reach beyond the limits."""
        rows, columns = (
            math.ceil((high - low) / self.resolution - _ROUNDING) for low, high in (self.y, self.x)
        )
        return rows, columns

    def position(self, row: int, column: int) -> NDArray[np.float64]:
        """Return the middle of a cell, (2,) x and y [m]."""
        return np.array(
            [
                self.x[0] + (column + 0.5) * self.resolution,
                self.y[0] + (row + 0.5) * self.resolution,
            ]
        )

    def cell(self, position: NDArray[np.float64]) -> tuple[int, int]:
        """Return row and column of the cell at `position` (x, y, ...) [m]; may lie outside."""
        column, row = np.floor((position[:2] - (self.x[0], self.y[0])) / self.resolution)
        return int(row), int(column)

    def contains(self, position: NDArray[np.float64]) -> bool:
        """Whether `position` (x, y, ...) [m] lies above the workspace's floor, at any height."""
        return bool(self.x[0] <= position[0] < self.x[1] and self.y[0] <= position[1] < self.y[1])
