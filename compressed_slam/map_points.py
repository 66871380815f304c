"""What the keyframes in memory know of surfaces, as points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressed_slam import se3
from compressed_slam.projection import back_project

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from compressed_slam.keyframes import Keyframes

_FARTHEST = 0.25  # of a keyframe's mean disparity; what seems farther is mostly unsure


def map_points(
    keyframes: Keyframes, intrinsics: Tensor
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return points (n, 3) in the tracker's world and their colours (n, 3) BGR.

    Where a sensor measured depth, only what it measured counts.
    """
    count = len(keyframes)
    poses, disps = keyframes.poses[:count], keyframes.disps[:count]
    measured = keyframes.measured[:count] > 0
    sensed = measured.flatten(1).any(1)[:, None, None]
    near = disps > _FARTHEST * disps.mean(dim=(1, 2), keepdim=True)
    shown = near & (measured | ~sensed)
    points = se3.act(se3.inverse(poses)[:, None, None], back_project(disps, intrinsics))
    colours = keyframes.colours[:count]
    return points[shown].cpu().numpy(), colours[shown.cpu()].numpy()
