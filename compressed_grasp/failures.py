"""What actions that have just changed nothing say about those like them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from compressed_grasp.action import ANGLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from compressed_grasp.action import Action
    from compressed_grasp.workspace import Workspace

_SAME_PLACE = 0.015  # metres between two actions that are taken as the same
_SAME_TURN = 1  # steps of 22.5 degrees between them, at most
_GRASP_TURNS = ANGLES // 2  # then the jaws have changed over
_SAME_OBJECT = 0.04  # metres between actions that are likely of one object: about a block's size
_SHARED = 0.5  # of the failure's reasons, at most, by what is not the same but near to it


def bar_repetitions(
    allowed: NDArray[np.bool_], useless: Sequence[Action], workspace: Workspace
) -> None:
    """Take what does the same as one of `useless` from `allowed` (32, rows, columns)."""
    far = _elsewhere(workspace.resolution)
    reach = len(far) // 2
    for action in useless:
        row, column = action.cell
        top, left = max(row - reach, 0), max(column - reach, 0)
        about = np.s_[top : row + reach + 1, left : column + reach + 1]
        inside = far[top - row + reach :, left - column + reach :]
        for k in _same_channels(action):
            window = allowed[k][about]
            window &= inside[: window.shape[0], : window.shape[1]]


def confidence(
    shape: tuple[int, ...], useless: Sequence[Action], workspace: Workspace
) -> NDArray[np.float32]:
    """How much of its value an action keeps, after those in `useless` have failed.

    A grasp that slips off a slope slips off all along it: what is near a failure and of its angle
    is less likely to succeed than a network thinks that has seen only the picture.

    Args:
        shape: (32, rows, columns).
        useless: what has just changed nothing.
        workspace: of the cells.

    Returns:
        Factors of `shape`, 0.5..1 for each failure.
    """
    kept = np.ones(shape, np.float32)
    rows, columns = np.ogrid[: shape[1], : shape[2]]
    scale = (workspace.resolution / _SAME_OBJECT) ** 2
    for action in useless:
        row, column = action.cell
        near = np.exp(-scale * ((rows - row) ** 2 + (columns - column) ** 2))
        kept[_same_channels(action)] *= (1 - _SHARED * near).astype(np.float32)
    return kept


@lru_cache(maxsize=8)
def _elsewhere(resolution: float) -> NDArray[np.bool_]:
    """Which cells (n, n) are not taken as the same as that in the middle."""
    reach = int(_SAME_PLACE / resolution)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    far: NDArray[np.bool_] = np.hypot(rows, columns) * resolution > _SAME_PLACE
    return far


def _same_channels(action: Action) -> list[int]:
    """Channels of the Q map that do about the same as `action` where it was done."""
    turns = range(action.angle_index - _SAME_TURN, action.angle_index + _SAME_TURN + 1)
    if action.kind == "push":
        return [k % ANGLES for k in turns]
    first = [ANGLES + k % _GRASP_TURNS for k in turns]
    return first + [k + _GRASP_TURNS for k in first]
