"""What tracking says of one picture."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Health(Enum):
    """What a pose is worth."""

    INITIALISING = "initialising"
    TRACKING = "tracking"
    LOST = "lost"


@dataclass(frozen=True)
class Estimate:
    """Where a picture was taken from.

    Attributes:
        stamp: of the picture, ns.
        odometry: (7,) camera to odometry frame: smooth, drifts; no correction of the map moves it,
            only a lost camera that is found again jumps.
        pose: (7,) camera to map: corrected by the backend, may jump.
        covariance: (6, 6) of the tangent that perturbs the world-to-camera pose on the left,
            [translation, rotation]; relative to the map's first keyframe, see
            `compressed_slam.uncertainty`; infinite where nothing is known.
        confidence: mean weight of the matches with the keyframe that matches best, 0..1.
        health: of the tracking.
        keyframe: whether the picture became a keyframe.
    """

    stamp: int
    odometry: Tensor
    pose: Tensor
    covariance: Tensor
    confidence: float
    health: Health
    keyframe: bool
