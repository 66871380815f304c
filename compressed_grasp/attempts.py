"""Which actions have just changed nothing, as far as a camera can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compressed_grasp.action import Action
    from compressed_grasp.heightmap import HeightMap
    from compressed_grasp.workspace import Workspace

_MOVED_HEIGHT = 0.015  # metres
_MOVED_AREA = 3e-4  # m2, of patches
_PATCH = np.ones((4, 4), np.uint8)  # cells; narrower differences are edges, seen with noise


class Attempts:
    """Remembers what was chosen since the scene last changed.

    `patience`: seconds after which an action that was chosen is taken as done. 0 where the next
    decision is asked for only when the last action was carried out.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._useless: list[Action] = []
        self._chosen: Action | None = None
        self._before: HeightMap | None = None
        self._since = 0.0

    def useless(self, seen: HeightMap, workspace: Workspace, now: float) -> Sequence[Action]:
        """Return the actions that have changed nothing, judged by what is seen now.

        Args:
            seen: height map of an image.
            workspace: of the height map.
            now: stamp of the image [s].
        """
        if self._before is not None and moved(self._before, seen, workspace):
            self.forget()
        elif self._chosen is not None and now - self._since > self._patience:
            self._useless.append(self._chosen)
            self._chosen = None
        return self._useless

    def chose(self, action: Action | None, seen: HeightMap, now: float) -> None:
        """Remember what was chosen for an image; None where nothing was."""
        if self._chosen is None:
            self._since = now
        if self._before is None:
            self._before = seen
        self._chosen = action


def moved(before: HeightMap, after: HeightMap, workspace: Workspace) -> bool:
    """Whether something lies elsewhere; cells that one of the two did not see are not compared.

    Unlike `routine.changed`, which compares perfect views, it is not misled by noise and by
    flying pixels along the edges of what stands still.
    """
    with np.errstate(invalid="ignore"):
        differs = np.abs(after.height - before.height) > _MOVED_HEIGHT
    patches = cv2.morphologyEx(differs.astype(np.uint8), cv2.MORPH_OPEN, _PATCH)
    return bool(np.count_nonzero(patches) * workspace.resolution**2 > _MOVED_AREA)
