"""The pose of a picture that is far from where it was expected, by pixels that look alike anywhere.

The pose that most correspondences agree with is sought by RANSAC (Fischler and Bolles 1981) over
the perspective problem of three points (Ke and Roumeliotis 2017), then fitted to all that agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from compressed_slam import se3
from compressed_slam.projection import back_project

if TYPE_CHECKING:
    from torch import Tensor

    from compressed_slam.location import Landmarks, Located

_TRIES = 300
_AGREEMENT = 1.0  # map pixels by which a correspondence may miss a pose that it agrees with
_LEAST_SHARE = 0.04
"""Of a picture's pixels that must agree; of pictures of different places at most .016 do."""
_FITS = 3


def world_points(poses: Tensor, disps: Tensor, intrinsics: Tensor) -> Tensor:
    """(K, h, w, 3) points of keyframes' pixels; not finite where `disps` (K, h, w) is 0."""
    return se3.act(se3.inverse(poses)[:, None, None], back_project(disps, intrinsics))


def fit_pose(
    landmarks: Landmarks, points: Tensor, target: Tensor, paired: Tensor, intrinsics: Tensor
) -> tuple[Located, Tensor] | None:
    """Find the pose that most correspondences agree with.

    Args:
        landmarks: K keyframes.
        points: (K, h, w, 3) their pixels in the world.
        target: (K, h, w, 2) x y where in the picture each is seen.
        paired: (K, h, w) which of them are.
        intrinsics: (4,) of the maps.

    Returns:
        The picture's pose, and which correspondences agree with it, (K, h, w); None where too few
        of any keyframe do.
    """
    fewest = _LEAST_SHARE * paired[0].numel()
    if paired.sum() < fewest:
        return None
    fx, fy, cx, cy = intrinsics.tolist()
    solved, turn, shift, _ = cv2.solvePnPRansac(
        points[paired].double().cpu().numpy(),
        target[paired].double().cpu().numpy(),
        np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
        None,
        iterationsCount=_TRIES,
        reprojectionError=_AGREEMENT,
        flags=cv2.SOLVEPNP_AP3P,
    )
    if not solved:
        return None
    turned = se3.exp(torch.tensor([0, 0, 0, *turn[:, 0]]))
    pose = torch.cat([torch.from_numpy(shift[:, 0]), turned[3:]]).to(points)
    for _ in range(_FITS):
        agrees = paired & ((landmarks.seen_from(pose) - target).norm(dim=-1) < _AGREEMENT)
        located = landmarks.locate(pose, target, agrees[..., None].expand_as(target).float())
        pose = located.pose
    if not located.solved or agrees.flatten(1).sum(1).max() < fewest:
        return None
    return located, agrees
