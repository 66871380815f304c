"""What a pinhole camera sees in a room: picture and depth."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.errors import SettingError
from edge_worlds.rooms.kernels import render_rows
from edge_worlds.rooms.poses import rotation_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_worlds.rooms.room import Room
    from edge_worlds.rooms.solids import SolidTable

    Array = NDArray[np.float64]

_NEAREST = (
    0.02  # metres before the camera where solids are cut off to find their place in a picture
)
_MOST_THREADS = 8
_EDGES = np.array([(k, k | bit) for bit in (1, 2, 4) for k in range(8) if not k & bit])


@dataclass(frozen=True)
class Pinhole:
    """A camera without distortion: size and intrinsics in pixels, pixel centres at integers.

    Raises:
        SettingError: A size below 1, a focal length not above 0, a number that is not finite.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            message = f"camera of {self.width}x{self.height} pixels: give at least 1x1"
            raise SettingError(message)
        numbers = (self.fx, self.fy, self.cx, self.cy)
        if not all(map(math.isfinite, numbers)) or min(self.fx, self.fy) <= 0:
            message = (
                f"camera with fx fy cx cy {numbers}: give finite pixels, focal lengths above 0"
            )
            raise SettingError(message)

    @classmethod
    def with_view(cls, width: int, height: int, degrees: float = 65.0) -> Pinhole:
        """A camera with square pixels, a centred axis and a horizontal field of view."""
        focal = width / 2 / math.tan(math.radians(degrees) / 2)
        return cls(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


def render(
    room: Room, camera: Pinhole, pose: Array
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The picture (height, width, 3) uint8 BGR and the z-depth (height, width) in metres.

    `pose` is the camera's in the room, [tx ty tz qx qy qz qw]. Depth is exact at pixel centres;
    colours are filtered over the pixel.

    Raises:
        SettingError: The camera is not in the room's air.
    """
    if pose.shape != (7,) or not np.isfinite(pose).all() or room.clearance(pose[:3]) <= 0:
        message = (
            f"camera pose {pose.tolist()}: give 7 numbers tx ty tz qx qy qz qw inside room "
            f"{room.seed} and outside its furniture (Room.clearance above 0)"
        )
        raise SettingError(message)
    rotation = rotation_matrix(pose[3:])
    boxes, near = _on_screen(room.solids, camera, rotation, pose[:3])
    order = np.argsort(near)
    order = order[(order > 0) & np.isfinite(near[order])]
    steps = rotation / (camera.fx, camera.fy, 1.0)
    rays = np.stack([steps @ (-camera.cx, -camera.cy, 1.0), steps[:, 0], steps[:, 1]])
    view = (room.solids.seen_from(pose[:3]), near, boxes, order, rays)
    atlas = (room.atlas.texels, room.atlas.sizes, room.atlas.offsets)
    bgr = np.empty((camera.height, camera.width, 3), np.uint8)
    depth = np.empty((camera.height, camera.width), np.float32)
    threads = min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    # Twice as many bands as threads: some show more edges than others.
    cuts = np.linspace(0, camera.height, min(2 * threads, camera.height) + 1).astype(int)
    # A pool that lives for one picture also works in processes that were forked.
    with ThreadPoolExecutor(threads) as pool:
        bands = [
            pool.submit(render_rows, view, atlas, bgr, depth, (top, end))
            for top, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)
        ]
    for band in bands:
        band.result()
    return bgr, depth


def _on_screen(
    solids: SolidTable, camera: Pinhole, rotation: Array, position: Array
) -> tuple[Array, Array]:
    """Pixel boxes (n, 4) x0 y0 x1 y1 around the solids, and the least depth of each (n,).

    Empty and infinitely far for those behind the camera; the room (row 0) is at depth 0.
    """
    seen = (solids.corners() - position) @ rotation
    start, end = seen[:, _EDGES[:, 0]], seen[:, _EDGES[:, 1]]
    rise = end[..., 2] - start[..., 2]
    share = (_NEAREST - start[..., 2]) / np.where(rise == 0, 1.0, rise)
    # A box that reaches behind the camera shows up to where its edges cross the nearest plane.
    crossing = start + np.clip(share, 0, 1)[..., None] * (end - start)
    points = np.concatenate([seen, crossing], axis=1)
    z = points[..., 2]
    ahead = z > _NEAREST * (1 - 1e-9)
    focal, middle = np.array([camera.fx, camera.fy]), np.array([camera.cx, camera.cy])
    pixels = focal * points[..., :2] / np.where(ahead, z, 1.0)[..., None] + middle
    low = np.where(ahead[..., None], pixels, np.inf).min(axis=1) - 1
    high = np.where(ahead[..., None], pixels, -np.inf).max(axis=1) + 1
    near = np.where(ahead, z, np.inf).min(axis=1)
    near[0] = 0.0
    return np.concatenate([low, high], axis=1), near
