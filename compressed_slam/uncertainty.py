"""How sure a pose in the map is: by its own matches, and by the keyframes on the way to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressed_slam import se3

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_INFLATION = 200.0
"""By which errors are larger, squared, than those of as many independent matches would be.

Neighbouring pixels err alike, and so does the depth that they have; measured, see docs/slam.md.
"""


class Uncertainty:
    """Adds up what pictures were located by, from keyframe to keyframe.

    Covariances are (6, 6), of the tangent that perturbs a world-to-camera pose on the left, and
    relative to the map's first keyframe. What the closing of a loop takes back is not counted.
    """

    def __init__(self) -> None:
        """Begin with no keyframe; one that nothing was said of is certain."""
        self._of_keyframes: dict[int, Tensor] = {}

    def of(self, located: Tensor, relative: Tensor, keyframe: int) -> Tensor:
        """Return the covariance of a picture's pose.

        Args:
            located: (6, 6) by its matches, taken for independent.
            relative: (7,) its pose times the inverse of the keyframe's.
            keyframe: identity of the one that it was located by.
        """
        own = _INFLATION * located
        before = self._of_keyframes.get(keyframe)
        if before is None:
            return own
        across = se3.adjoint(relative)
        return own + across @ before @ across.mT

    def remember(self, ids: Sequence[int], covariance: Tensor) -> None:
        """Say how sure the last of these keyframes is, and forget all but these."""
        self._of_keyframes = {
            each: self._of_keyframes[each] for each in ids if each in self._of_keyframes
        }
        self._of_keyframes[ids[-1]] = covariance
