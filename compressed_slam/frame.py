"""One picture on its way through tracking and mapping, and the maps' lattice of samples in it.

The maps' samples are the picture's pixels 0, 8, 16 ...: there the encoders' filters are centred,
and there an eighth of the intrinsics is exact. (DROID-SLAM takes a sensor's depth three pixels
beside them.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from compressed_slam.encoder import STRIDE
from edge_runtime.errors import MessageError

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from torch import Tensor

    from edge_runtime.calibration import Calibration

_NEAREST = 0.1  # metres; what a depth camera reports nearer than that is wrong


@dataclass(frozen=True)
class Frame:
    """A rectified picture of a size whose sides are multiples of 8.

    Attributes:
        stamp: ns.
        bgr: (H, W, 3) uint8.
        depth: (H, W) metres, NaN (or 0) where unseen; None without a sensor.
        right: as `bgr`, of the other camera of a stereo pair; None without one.

    The images are kept for a while: do not write to them.
    """

    stamp: int
    bgr: NDArray[np.uint8]
    depth: NDArray[np.floating[Any]] | None = None
    right: NDArray[np.uint8] | None = None

    def check(self, camera: Calibration, after: int | None) -> None:
        """Refuse a frame of another size than the camera's, or older than the stamp `after`, ns.

        Raises:
            MessageError: it is one.
        """
        if after is not None and self.stamp < after:
            message = (
                f"an image of time {self.stamp} ns came after one of {after} ns: images "
                "come in the order of their time; start anew where a recording does"
            )
            raise MessageError(message, "order")
        expected = camera.height, camera.width
        for name, image in (("bgr", self.bgr), ("depth", self.depth), ("right", self.right)):
            if image is not None and image.shape[:2] != expected:
                message = (
                    f"{name} is {image.shape[1]}x{image.shape[0]}, but the pictures' camera has "
                    f"{expected[1]}x{expected[0]}: rectify both with it"
                )
                raise MessageError(message, "size")

    @cached_property
    def disp(self) -> Tensor | None:
        """(H/8, W/8) measured inverse depth of the maps' samples, 1/m, 0 where unknown."""
        return None if self.depth is None else sampled_disp(self.depth)

    @property
    def colours(self) -> Tensor:
        """(H/8, W/8, 3) uint8 BGR of the maps' samples."""
        return torch.from_numpy(np.ascontiguousarray(self.bgr[::STRIDE, ::STRIDE]))


def map_intrinsics(camera: Calibration) -> Tensor:
    """(4,) float32 fx fy cx cy of the maps, of the rectified pictures' camera."""
    focal_and_centre = camera.matrix[[0, 1, 0, 1], [0, 1, 2, 2]]
    return torch.from_numpy(focal_and_centre / STRIDE).float()


def sampled_disp(depth: NDArray[np.floating[Any]]) -> Tensor:
    """Inverse depth at the maps' samples.

    Args:
        depth: (H, W) metres, NaN (or 0) where unseen.

    Returns:
        (H/8, W/8) float32 1/m, 0 where unknown.
    """
    samples = np.asarray(depth[::STRIDE, ::STRIDE], np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        disp = np.where(samples > _NEAREST, 1 / samples, 0)
    return torch.from_numpy(disp.astype(np.float32))
