"""A pinhole camera in a procedural world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion.

    Attributes:
        matrix: (3, 3) camera matrix K, pixels; pixel centres at integer coordinates.
        world_to_camera: (4, 4) transform to the optical frame (x right, y down, z forward).
        width: pixels.
        height: pixels.
    """

    matrix: NDArray[np.float64]
    world_to_camera: NDArray[np.float64]
    width: int
    height: int

    @property
    def position(self) -> NDArray[np.float64]:
        """Optical centre in the world, (3,) metres."""
        rotation, translation = self.world_to_camera[:3, :3], self.world_to_camera[:3, 3]
        centre: NDArray[np.float64] = -rotation.T @ translation
        return centre

    def rays(self) -> NDArray[np.float64]:
        """World directions through all pixels, row by row, (height * width, 3).

        Scaled so that the optical z component is 1: distance along the ray is optical depth.
        """
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        pixels = np.stack([u.ravel(), v.ravel(), np.ones(u.size)], axis=1)
        directions: NDArray[np.float64] = (
            pixels @ np.linalg.inv(self.matrix).T @ self.world_to_camera[:3, :3]
        )
        return directions

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels (n, 2) of world points (n, 3); NaN for points behind the camera."""
        local = points @ self.world_to_camera[:3, :3].T + self.world_to_camera[:3, 3]
        depth = np.where(local[:, 2:] > 0, local[:, 2:], np.nan)
        pixels: NDArray[np.float64] = (local / depth) @ self.matrix.T
        return pixels[:, :2]


def look_at(
    eye: NDArray[np.float64], target: NDArray[np.float64], roll: float = 0.0
) -> NDArray[np.float64]:
    """World-to-camera transform (4, 4) of a camera at `eye` that looks at `target`.

    World z is up in the picture, then the picture is turned by `roll` radians about its axis.
    """
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    if np.linalg.norm(right) < 1e-6:  # noqa: PLR2004 - looking straight along world z
        right = np.array([0.0, -1.0, 0.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll), np.sin(roll)
    transform = np.eye(4)
    transform[:3, :3] = np.stack(
        [cosine * right + sine * down, cosine * down - sine * right, forward]
    )
    transform[:3, 3] = -transform[:3, :3] @ eye
    return transform
