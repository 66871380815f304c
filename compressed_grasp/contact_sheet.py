"""An episode in one picture: what was seen, what was chosen, what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from compressed_grasp.overlay import draw_height_map, draw_q_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressed_grasp.action import Action
    from compressed_grasp.heightmap import HeightMap
    from compressed_grasp.routine import Outcome
    from compressed_grasp.workspace import Workspace

_TILE = 168  # pixels


class ContactSheet:
    """Gathers an episode: a column for each action, above what was seen, below the Q map."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._columns: list[NDArray[np.uint8]] = []

    def add(
        self, seen: HeightMap, action: Action, outcome: Outcome, q: NDArray[np.float32] | None
    ) -> None:
        """Add an action. `q`: (32, rows, columns) of a learned policy, of which one half is shown.

        The half is that of the action's kind.
        """
        upper = _tile(draw_height_map(seen, action, self._workspace))
        lower = np.zeros_like(upper)
        if q is not None:
            half = len(q) // 2
            kind = q[:half] if action.kind == "push" else q[half:]
            lower = _tile(draw_q_map(kind, seen, action, self._workspace))
        result = "grasped" if outcome.grasped else "changed" if outcome.changed else "no change"
        _write(upper, f"{len(self._columns) + 1} {action.kind}: {result}")
        self._columns.append(np.vstack([upper, lower]))

    def jpeg(self, last: HeightMap) -> bytes:
        """Return the sheet; `last` is what was seen in the end."""
        end = _tile(draw_height_map(last, None, self._workspace))
        _write(end, "end")
        columns = [*self._columns, np.vstack([end, np.zeros_like(end)])]
        encoded = cv2.imencode(".jpg", np.hstack(columns), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
        return encoded.tobytes()


def _tile(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    tile: NDArray[np.uint8] = cv2.resize(
        picture, (_TILE, _TILE), interpolation=cv2.INTER_AREA
    ).astype(np.uint8)
    return tile


def _write(tile: NDArray[np.uint8], text: str) -> None:
    cv2.putText(
        tile, text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA
    )
