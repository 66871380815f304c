"""Boxes and upright cylinders, the stuff that rooms are made of, and the distance to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_CORNERS = np.array([[1.0 if k >> axis & 1 else -1.0 for axis in range(3)] for k in range(8)])


@dataclass(frozen=True)
class Solid:
    """A box, or an upright cylinder, whose half sizes along x and y both are its radius.

    Attributes:
        centre: x y z, metres; z is up.
        half: half sizes along its own x y z, metres.
        yaw: turn about z, radians.
        material: which of its room's materials covers it.
        cylinder: whether it is round.
    """

    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    yaw: float = 0.0
    material: int = 0
    cylinder: bool = False

    def moved(self, x: float, y: float, yaw: float) -> Solid:
        """Turn about the origin, then shift."""
        cosine, sine = np.cos(yaw), np.sin(yaw)
        centre = (
            float(x + cosine * self.centre[0] - sine * self.centre[1]),
            float(y + sine * self.centre[0] + cosine * self.centre[1]),
            self.centre[2],
        )
        return replace(self, centre=centre, yaw=self.yaw + yaw)


def box(
    low: tuple[float, float, float], high: tuple[float, float, float], material: int = 0
) -> Solid:
    """A box between two corners."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    centre = ((x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2)
    return Solid(centre, ((x1 - x0) / 2, (y1 - y0) / 2, (z1 - z0) / 2), material=material)


def cylinder(
    foot: tuple[float, float, float], radius: float, height: float, material: int = 0
) -> Solid:
    """A cylinder that stands at `foot`."""
    x, y, z = foot
    half = (radius, radius, height / 2)
    return Solid((x, y, z + height / 2), half, material=material, cylinder=True)


class SolidTable:
    """Solids as arrays; all rows at once is what rendering and collision tests need.

    Attributes:
        centre: (n, 3) metres.
        half: (n, 3) metres.
        axes: (n, 2) cosine and sine of the yaw.
        cylinder: (n,) bool.
    """

    def __init__(self, solids: Sequence[Solid]) -> None:
        self.centre = np.array([s.centre for s in solids])
        self.half = np.array([s.half for s in solids])
        yaw = np.array([s.yaw for s in solids])
        self.axes = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
        self.cylinder = np.array([s.cylinder for s in solids])

    def local(self, points: Array) -> Array:
        """World points (..., 3) in the frame of each solid, (..., n, 3)."""
        offset = points[..., None, :] - self.centre
        cosine, sine = self.axes.T
        x = cosine * offset[..., 0] + sine * offset[..., 1]
        y = cosine * offset[..., 1] - sine * offset[..., 0]
        return np.stack([x, y, offset[..., 2]], axis=-1)

    def distance(self, points: Array) -> Array:
        """Signed distance of world points (..., 3) to each solid, (..., n); inside negative."""
        local = self.local(points)
        beyond = np.abs(local) - self.half
        radial = np.hypot(local[..., 0], local[..., 1]) - self.half[:, 0]
        beyond[..., 0] = np.where(self.cylinder, radial, beyond[..., 0])
        beyond[..., 1] = np.where(self.cylinder, radial, beyond[..., 1])
        # A cylinder's radius counts once in the norm.
        outside = np.maximum(beyond, 0.0)
        outside[..., 1] = np.where(self.cylinder, 0.0, outside[..., 1])
        inside = np.minimum(beyond.max(axis=-1), 0.0)
        distance: Array = np.linalg.norm(outside, axis=-1) + inside
        return distance

    def corners(self) -> Array:
        """Corners of the boxes around the solids, (n, 8, 3) metres.

        Corner k lies on the far side of axis a where bit a of k is set.
        """
        local = _CORNERS * self.half[:, None]
        cosine, sine = self.axes[:, :1], self.axes[:, 1:]
        x = cosine * local[..., 0] - sine * local[..., 1]
        y = sine * local[..., 0] + cosine * local[..., 1]
        corners: Array = np.stack([x, y, local[..., 2]], axis=-1) + self.centre[:, None]
        return corners

    def seen_from(self, point: Array) -> Array:
        """The kernels' form of the table, (n, 9).

        The point in the solid's frame x y z, cosine and sine of the yaw, half sizes x y z, 1 for a
        cylinder.
        """
        parts = [self.local(point), self.axes, self.half, self.cylinder[:, None]]
        return np.concatenate(parts, axis=1)
