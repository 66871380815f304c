"""The pose of one frame that known ones see, and how sure it is.

What `bundle_adjustment.adjust` does with one free pose, all edges ending there and no depth moved,
compiled: it is done several times for every picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from compressed_slam.bundle_adjustment import WEIGHT
from compressed_slam.location_kernels import find_pose, see

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from torch import Tensor


class Located(NamedTuple):
    """The pose of one frame among known ones.

    Attributes:
        pose: (7,).
        covariance: (6, 6) of the tangent that perturbs the pose on the left, `[translation,
            rotation]` in the camera's axes: the inverse of the undamped information matrix at
            `pose`, scaled by `variance`. It takes residuals for independent; those of
            neighbouring pixels are not, so it is a lower bound.
        variance: px^2 of the maps: weighted squared residuals at `pose` over the degrees of
            freedom, which are the valid residuals of positive weight, less six.
        solved: false where the matches do not determine the pose; it is then the one given, and
            covariance and variance are infinite.
    """

    pose: Tensor
    covariance: Tensor
    variance: float
    solved: bool


class Landmarks:
    """Known frames that a picture is located by: K of them, on the processor.

    Pixels without a depth (disparity 0) say nothing.
    """

    def __init__(self, poses: Tensor, disps: Tensor, intrinsics: Tensor) -> None:
        """Take poses (K, 7), inverse depths (K, h, w) and the maps' intrinsics (4,)."""
        self._like = disps
        self._poses = _numbers(poses, np.float64)
        self._disps = disps.flatten(1).contiguous().cpu().numpy()
        self._intrinsics = _numbers(intrinsics, np.float64)

    def seen_from(self, pose: Tensor) -> Tensor:
        """Return where the pixels are seen from `pose` (7,): coords (K, h, w, 2)."""
        count, height, width = self._like.shape
        coords = np.empty((count, height * width, 2), self._disps.dtype)
        see(
            self._poses,
            _numbers(pose, np.float64),
            self._disps,
            self._intrinsics,
            width,
            coords,
        )
        return torch.from_numpy(coords).view(count, height, width, 2).to(self._like.device)

    def parallax(self, translation: Tensor) -> float:
        """Return how far a translation (3,) moves what is seen, map pixels, mean; to the side."""
        metres = float(translation.norm())
        return float(self._intrinsics[0] * self._disps.mean()) * metres

    def locate(
        self,
        guess: Tensor,
        target: Tensor,
        weight: Tensor,
        *,
        iterations: int = 2,
        lm: float = 1e-4,
        ep: float = 0.1,
    ) -> Located:
        """Move one pose to where the matches want it, and say how sure that is.

        Args:
            guess: (7,) of the frame.
            target: (K, h, w, 2) x y where the pixels were seen in it.
            weight: (K, h, w, 2) confidence in x and in y, 0..1.
            iterations: Gauss-Newton steps.
            lm: see `bundle_adjustment.adjust`.
            ep: likewise.
        """
        pose, covariance, variance, solved = find_pose(
            self._poses,
            _numbers(guess, np.float64),
            self._disps,
            self._intrinsics,
            self._like.shape[2],
            _numbers(target.flatten(1, 2), self._disps.dtype),
            _numbers(weight.flatten(1, 2), np.float64) * WEIGHT,
            iterations,
            lm,
            ep,
        )
        if not solved:
            return Located(guess.clone(), guess.new_full((6, 6), torch.inf), np.inf, solved=False)
        found, known = (torch.from_numpy(each).to(guess) for each in (pose, covariance))
        return Located(found, known, variance / WEIGHT, solved=True)


def warm_up() -> None:
    """Have what is compiled loaded, so that no camera's picture has to wait for it."""
    pose, intrinsics = torch.tensor([0.0, 0, 0, 0, 0, 0, 1]), torch.tensor([8.0, 8.0, 4.0, 4.0])
    landmarks = Landmarks(pose[None], torch.ones(1, 8, 8), intrinsics)
    seen = landmarks.seen_from(pose)
    landmarks.locate(pose, seen, torch.ones_like(seen))


def _numbers(tensor: Tensor, dtype: Any) -> NDArray[np.floating[Any]]:  # noqa: ANN401
    return np.ascontiguousarray(tensor.cpu().numpy(), dtype)
