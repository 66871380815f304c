"""Where a lost camera is found again: by the keyframes that look most like its picture.

The pictures are compared as tiny, blurred ones (Klein and Murray, ECCV 2008); of those that look
alike the features are then matched anywhere, and a pose is believed that enough of them agree with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from compressed_slam.frame import Frame
    from compressed_slam.localiser import Localisation, Localiser
    from compressed_slam.matching import View
    from compressed_slam.snapshot import Snapshot

_TINY = (40, 30)  # width, height
_BLUR = 2.5  # pixels of that
_AT_ONCE = 6  # keyframes that one picture is matched with
_LOOKED_AT = 12  # keyframes that look most alike, of which others are tried in every turn


class Relocaliser:
    """Remembers what keyframes look like, and tries those that look like a picture."""

    def __init__(self, localiser: Localiser) -> None:
        """Begin without keyframes."""
        self._localiser = localiser
        self._looks: dict[int, NDArray[np.float32]] = {}
        self._turn = 0

    def remember(self, ids: Sequence[int], frame: Frame) -> None:
        """Remember what the last of these keyframes looks like, and forget all but these."""
        self._looks = {each: self._looks[each] for each in ids if each in self._looks}
        self._looks[ids[-1]] = _look(frame)

    def search(self, frame: Frame, view: View, known: Snapshot) -> tuple[int, Localisation] | None:
        """Return the row of the keyframe by which a picture is located, and where it was taken.

        None where it resembles none, or none of those that are tried in this turn.
        """
        tried = (
            (row, self._localiser.locate_anywhere(view, known, [row]))
            for row in self._candidates(frame, known)
        )
        found = [(row, located) for row, located in tried if located is not None]
        return max(found, key=lambda each: each[1].confidence, default=None)

    def _candidates(self, frame: Frame, known: Snapshot) -> Sequence[int]:
        look = _look(frame)
        rows = [row for row in known.landmarks() if known.ids[row] in self._looks]
        rows.sort(key=lambda row: -float(self._looks[known.ids[row]] @ look))
        likely = rows[:_LOOKED_AT]
        first = self._turn % max(len(likely), 1)
        self._turn = first + _AT_ONCE
        return [likely[(first + k) % len(likely)] for k in range(min(_AT_ONCE, len(likely)))]


def _look(frame: Frame) -> NDArray[np.float32]:
    """Return the tiny picture as a vector of mean 0 and length 1: products are correlations."""
    grey = cv2.cvtColor(frame.bgr, cv2.COLOR_BGR2GRAY)
    tiny = cv2.GaussianBlur(cv2.resize(grey, _TINY, interpolation=cv2.INTER_AREA), (0, 0), _BLUR)
    centred = tiny.astype(np.float32).ravel() - tiny.mean(dtype=np.float32)
    look: NDArray[np.float32] = centred / max(float(np.linalg.norm(centred)), 1.0)
    return look
