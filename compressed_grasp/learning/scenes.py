"""Scenes and cameras to learn on; VPG's scenes and blocks are none of them."""

from __future__ import annotations

import numpy as np

from edge_worlds.camera import Camera, look_at
from edge_worlds.tabletop.camera import PERFECT, CameraFaults
from edge_worlds.tabletop.packing import packed_blocks
from edge_worlds.tabletop.scene import Scene, packed_group, random_pile

_PERFECT_SHARE = 0.25
_FOCAL_LENGTH = 618.62  # pixels, of VPG's camera
_VIEW = (504, 400)  # pixels of it in which the workspace lies, from _DISTANCE
_DISTANCE = 0.707  # metres


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw a pile, a row of boxes, or blocks pushed together, some more beside them."""
    kind = rng.random()
    if kind < 0.35:  # noqa: PLR2004
        return random_pile(rng, int(rng.integers(1, 13)), spread=rng.uniform(0.06, 0.16))
    if kind < 0.5:  # noqa: PLR2004
        return packed_group(rng, int(rng.integers(2, 8)))
    return packed_blocks(rng, int(rng.integers(2, 6)), int(rng.integers(3)))


def draw_camera(rng: np.random.Generator) -> Camera:
    """Draw an oblique camera that sees the workspace."""
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(38, 70))
    distance, scale = rng.uniform(0.6, 0.8), rng.uniform(0.5, 0.8)
    level = np.cos(elevation)
    eye = distance * np.array([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)])
    focal = _FOCAL_LENGTH * scale * distance / _DISTANCE
    width, height = (round(extent * scale) for extent in _VIEW)
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Camera(matrix, look_at(eye, np.zeros(3)), width, height)


def draw_faults(rng: np.random.Generator) -> CameraFaults:
    """Draw how bad the depth camera is; a quarter are perfect."""
    if rng.random() < _PERFECT_SHARE:
        return PERFECT
    return CameraFaults(
        noise=rng.uniform(0, 0.003),
        holes=rng.uniform(0, 0.3),
        flying=rng.uniform(0, 0.6),
        baseline=rng.uniform(0, 0.06),
        rotation=np.radians(1.0),
        translation=0.005,
    )
