"""Pictures of one camera with depth and poses, and the flow between any two of them.

Flow is wanted at the samples of the maps: the picture's pixels 0, 8, 16 ..., in cells of 8 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from compressed_slam.encoder import STRIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

_NEAREST = 0.2  # share of its depth that a point may come nearer and still be followed
_SAME_DEPTH = 0.05  # share by which the depth of a point may differ in two pictures
_FARTHEST = 2.0  # widths of the picture that a point may move


class Flow(NamedTuple):
    """Where the samples of one picture's map went in another picture.

    Attributes:
        cells: (h, w, 2) float32 x y, 0 where unknown.
        known: (h, w) bool, where the geometry tells it, also to places that are out of sight.
        visible: (h, w) bool, where the other picture also shows the same point.
    """

    cells: NDArray[np.float32]
    known: NDArray[np.bool_]
    visible: NDArray[np.bool_]


@dataclass(frozen=True)
class Window:
    """A part of a picture, which is scaled to `size`, and mirrored if it is `mirrored`.

    Attributes:
        corner: x, y of its upper left pixel.
        extent: width, height in the picture.
        size: width, height that it is scaled to.
    """

    corner: tuple[int, int]
    extent: tuple[int, int]
    size: tuple[int, int]
    mirrored: bool = False

    @classmethod
    def whole(cls, size: tuple[int, int]) -> Window:
        """All of a picture, as it is."""
        return cls((0, 0), size, size)

    def cut(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cut the window out of a picture (H, W, 3)."""
        (x, y), (width, height) = self.corner, self.extent
        part: NDArray[Any] = picture[y : y + height, x : x + width]
        if self.extent != self.size:
            shrinks = width > self.size[0]
            way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            part = cv2.resize(part, self.size, interpolation=way)
        return np.ascontiguousarray(part[:, ::-1] if self.mirrored else part)

    def outside(self, pixels: Floats) -> Floats:
        """Find pixels (..., 2) x y of the window in the picture."""
        moved = np.array(pixels, np.float64)
        if self.mirrored:
            moved[..., 0] = self.size[0] - 1 - moved[..., 0]
        # The corners of pixels stay where they are, the centres lie at integers.
        return (moved + 0.5) * self._scale - 0.5 + self.corner

    def inside(self, pixels: Floats) -> Floats:
        """Find pixels (..., 2) x y of the picture in the window; the inverse of `outside`."""
        moved: Floats = (pixels - self.corner + 0.5) / self._scale - 0.5
        if self.mirrored:
            moved[..., 0] = self.size[0] - 1 - moved[..., 0]
        return moved

    def intrinsics(self, intrinsics: Floats) -> Floats:
        """Carry fx fy cx cy of the picture over to the window; see `Clip`.

        A mirrored window shows the mirrored scene: its x axis is turned round.
        """
        centre = self.inside(intrinsics[2:])
        return np.concatenate([intrinsics[:2] / self._scale, centre])

    @property
    def _scale(self) -> NDArray[np.float64]:
        return np.array(self.extent) / self.size


@dataclass(frozen=True, eq=False)
class Clip:
    """Pictures of one pinhole camera in a scene that stands still.

    Attributes:
        bgr: (N, H, W, 3) uint8.
        depth: (N, H, W) float16 metres along the optical axis, 0 where unknown.
        poses: (N, 4, 4) camera-to-world.
        intrinsics: (4,) fx fy cx cy, pixels.
    """

    bgr: NDArray[np.uint8]
    depth: NDArray[np.float16]
    poses: NDArray[np.float64]
    intrinsics: NDArray[np.float64]

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.bgr)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures."""
        return self.bgr.shape[2], self.bgr.shape[1]

    def flow(self, source: int, target: int, window: Window) -> Flow:
        """Find the samples of picture `source` in picture `target`, both cut to the window."""
        samples = map_samples(window.size)
        landing, known, visible = self.follow(
            np.array([source]), np.array([target]), window.outside(samples).reshape(-1, 2)
        )
        shape = samples.shape[:2]
        moved = window.inside(landing[0].reshape(*shape, 2))
        known = known[0].reshape(shape) & (
            np.abs(moved - samples).max(-1) < _FARTHEST * window.size[0]
        )
        inside = ((moved >= 0) & (moved <= np.array(window.size) - 1)).all(-1)
        cells = np.where(known[..., None], (moved - samples) / STRIDE, 0).astype(np.float32)
        return Flow(cells, known, known & inside & visible[0].reshape(shape))

    def follow(
        self, sources: NDArray[np.int64], targets: NDArray[np.int64], pixels: Floats
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Find pixels (P, 2) of B pictures in B others.

        A pixel has the depth of the nearest centre of one.

        Returns:
            landing (B, P, 2) x y, known (B, P), visible (B, P); see `Flow`.
        """
        focal, centre = self.intrinsics[:2], self.intrinsics[2:]
        depth = self._depth_at(sources, np.broadcast_to(pixels, (len(sources), *pixels.shape)))
        rays = np.concatenate([(pixels - centre) / focal, np.ones((len(pixels), 1))], axis=1)
        relative = np.linalg.inv(self.poses[targets]) @ self.poses[sources]
        points = depth[..., None] * rays @ relative[:, :3, :3].transpose(0, 2, 1)
        points += relative[:, None, :3, 3]
        z = points[..., 2]
        known = (depth > 0) & (z > _NEAREST * depth)
        landing = focal * points[..., :2] / np.where(known, z, 1)[..., None] + centre
        landing[~known] = 0
        inside = ((landing >= 0) & (landing <= np.array(self.size) - 1)).all(-1)
        there = self._depth_at(targets, landing)
        same = (there > 0) & (np.abs(there - z) <= _SAME_DEPTH * z)
        return landing, known, known & inside & same

    def _depth_at(self, frames: NDArray[np.int64], pixels: Floats) -> NDArray[np.float64]:
        """Depth (B, P) of the pixels nearest to (B, P, 2); at the border of those beyond it."""
        nearest = np.rint(np.clip(pixels, 0, np.array(self.size) - 1)).astype(np.int64)
        return self.depth[frames[:, None], nearest[..., 1], nearest[..., 0]].astype(np.float64)


def map_samples(size: tuple[int, int]) -> NDArray[np.float64]:
    """Pixels (h, w, 2) x y that are the samples of a map; `size`: the picture's width, height."""
    x, y = np.meshgrid(np.arange(0, size[0], STRIDE), np.arange(0, size[1], STRIDE))
    return np.stack([x, y], axis=-1).astype(np.float64)
