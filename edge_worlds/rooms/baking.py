"""Lit textures of all faces of all solids, with their smaller versions, in one array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge_worlds.rooms.kernels import FACES, LEVELS, Y_FACES, Z_FACES
from edge_worlds.rooms.solids import SolidTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_worlds.rooms.lighting import Lights
    from edge_worlds.rooms.solids import Solid

TEXELS_PER_METRE = 200
_LIGHT_CELL = 0.1  # metres between the points where light is computed


@dataclass(frozen=True)
class Atlas:
    """Textures of faces; that of a solid's face is number solid * FACES + face.

    Attributes:
        texels: (m,) uint32, blue + 256 green + 65536 red; all textures row by row in a line.
        sizes: (faces, 2) width and height of the finest level; level k has max(1, size >> k).
        offsets: (faces, LEVELS) where each level begins in `texels`.
    """

    texels: NDArray[np.uint32]
    sizes: NDArray[np.int64]
    offsets: NDArray[np.int64]


def bake(
    rng: np.random.Generator,
    solids: Sequence[Solid],
    materials: Sequence[Sequence[NDArray[np.uint8]]],
    lights: Lights,
) -> Atlas:
    """Cut each face out of its material at a random place, tint it, light it.

    `solids[0]` is the room, seen from inside; `materials[k]` holds one picture, or one a face.
    """
    faces = [(solid, face) for solid in solids for face in range(FACES)]
    cells = [_cells(solid, face) for solid, face in faces]
    places = [_surface(*item, *cell) for item, cell in zip(faces, cells, strict=True)]
    points, normals = (np.concatenate(part) for part in zip(*places, strict=True))
    normals[: sum(width * height for width, height in cells[:FACES])] *= -1
    light = lights.on(SolidTable(solids), points, normals)
    ends = np.cumsum([width * height for width, height in cells])
    atlas = _empty_atlas([texture_size(solid, face) for solid, face in faces])
    tint = np.ones(3, np.float32)
    for k, (solid, face) in enumerate(faces):
        if face == 0 and k:
            tint = rng.uniform(0.6, 1.1, 3).astype(np.float32)
        pictures = materials[solid.material]
        size = texture_size(solid, face)
        cut = _window(rng, pictures[face % len(pictures)], size)
        width, height = cells[k]
        grid = light[ends[k] - width * height : ends[k]].reshape(height, width, 3)
        smooth = cv2.resize(grid * tint, size, interpolation=cv2.INTER_LINEAR)
        _store(atlas, k, np.clip(cut * smooth, 0, 255).astype(np.uint8))
    return atlas


def texture_size(solid: Solid, face: int) -> tuple[int, int]:
    """Width and height of a face's texture, pixels."""
    width, height = _extent(solid, face)
    return max(1, round(width * TEXELS_PER_METRE)), max(1, round(height * TEXELS_PER_METRE))


def _extent(solid: Solid, face: int) -> tuple[float, float]:
    """Width and height of a face, metres."""
    x, y, z = (2 * half for half in solid.half)
    if face >= Z_FACES:
        return x, y
    if solid.cylinder:
        return np.pi * x, z
    return (y, z) if face < Y_FACES else (x, z)


def _cells(solid: Solid, face: int) -> tuple[int, int]:
    width, height = _extent(solid, face)
    return max(2, round(width / _LIGHT_CELL)), max(2, round(height / _LIGHT_CELL))


def _surface(
    solid: Solid, face: int, columns: int, rows: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres of a face's cells in the world and their outward normals, (rows * columns, 3) both.

    The same mapping of a texture to a face as in the renderer's kernel.
    """
    u, v = np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows)
    across, down = 2 * u.ravel() - 1, 2 * v.ravel() - 1
    side = np.full_like(across, 2.0 * (face % 2) - 1.0)
    nothing = np.zeros_like(across)
    if face >= Z_FACES:
        local, normal = (across, down, side), (nothing, nothing, side)
    elif solid.cylinder:
        around = (np.cos(np.pi * across), np.sin(np.pi * across))
        local, normal = (*around, -down), (*around, nothing)
    elif face >= Y_FACES:
        local, normal = (across, side, -down), (nothing, side, nothing)
    else:
        local, normal = (side, across, -down), (side, nothing, nothing)
    cosine, sine = np.cos(solid.yaw), np.sin(solid.yaw)
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    points = np.stack(local, axis=1) * solid.half @ turn.T + solid.centre
    return points, np.stack(normal, axis=1) @ turn.T


def _window(
    rng: np.random.Generator, picture: NDArray[np.uint8], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """A window of `size` (width, height) at a random place of a picture that goes on mirrored."""
    indices = []
    for extent, wanted in zip(picture.shape[:2], reversed(size), strict=True):
        start = rng.integers(max(1, extent - wanted + 1))
        place = (start + np.arange(wanted)) % (2 * extent)
        indices.append(np.where(place < extent, place, 2 * extent - 1 - place))
    return picture[np.ix_(*indices)]


def _empty_atlas(sizes: list[tuple[int, int]]) -> Atlas:
    finest = np.array(sizes)
    levels = np.maximum(finest[:, None] >> np.arange(LEVELS)[:, None], 1)
    ends = levels.prod(axis=-1).cumsum()
    offsets = np.append(0, ends[:-1]).reshape(len(sizes), LEVELS)
    return Atlas(np.empty(ends[-1], np.uint32), finest, offsets)


def _store(atlas: Atlas, face: int, texture: NDArray[Any]) -> None:
    """Write a texture (h, w, 3) uint8 BGR and its smaller versions to where they belong."""
    width, height = atlas.sizes[face].tolist()
    level = texture
    for k, start in enumerate(atlas.offsets[face].tolist()):
        if k:
            size = (max(1, width >> k), max(1, height >> k))
            level = cv2.resize(level, size, interpolation=cv2.INTER_AREA)
        blue, green, red = level.reshape(-1, 3).T.astype(np.uint32)
        atlas.texels[start : start + blue.size] = blue | green << 8 | red << 16
