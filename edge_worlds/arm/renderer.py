"""Ray casting of an arm, or a table, in its world: what is hit where, and how it is lit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import mujoco
import numpy as np

from edge_worlds.arm.urdf import HIDDEN_GROUP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_worlds.camera import Camera

_SHADOW_BIAS = 2e-3
_SHOWN_GROUPS = (np.arange(mujoco.mjNGROUP) < HIDDEN_GROUP).astype(np.uint8)


class Posed(Protocol):
    """A MuJoCo model in a pose, such as an arm or a table with objects."""

    model: mujoco.MjModel
    data: mujoco.MjData


@dataclass(frozen=True)
class Hits:
    """What the camera's rays hit, one row for each pixel, row by row.

    Attributes:
        geom: (n,) geom index, -1 where nothing is hit.
        depth: (n,) optical depth [m], inf where nothing is hit.
        point: (n, 3) world position [m].
        normal: (n, 3) unit surface normal, towards the camera.
        view: (n, 3) unit vectors from the surface to the camera.
    """

    geom: NDArray[np.int32]
    depth: NDArray[np.float64]
    point: NDArray[np.float64]
    normal: NDArray[np.float64]
    view: NDArray[np.float64]


@dataclass(frozen=True)
class Light:
    """A point light with an ambient share.

    `position` in metres (world); `ambient`, `diffuse` and `specular` weigh the three terms of
    Blinn and Phong's model with exponent `shininess`.
    """

    position: NDArray[np.float64]
    ambient: float
    diffuse: float
    specular: float
    shininess: float


def _cast(
    posed: Posed,
    origin: NDArray[np.float64],
    directions: NDArray[np.float64],
    normals: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Geom and distance, in lengths of the direction, for each ray; fills `normals` (3 n,)."""
    count = len(directions)
    geom = np.empty(count, np.int32)
    distance = np.empty(count)
    mujoco.mj_multiRay(
        posed.model,
        posed.data,
        origin,
        np.ascontiguousarray(directions).ravel(),
        _SHOWN_GROUPS,
        True,  # noqa: FBT003 - MuJoCo's positional flag: static geoms are hit too
        -1,
        geom,
        distance,
        normals,
        count,
        mujoco.mjMAXVAL,
    )
    return geom, distance


def cast(posed: Posed, camera: Camera) -> Hits:
    """Cast one ray a pixel."""
    directions = camera.rays()
    flat_normals = np.empty(directions.size)
    geom, distance = _cast(posed, camera.position, directions, flat_normals)
    normal = flat_normals.reshape(-1, 3)
    depth = np.where(geom >= 0, distance, np.inf)
    point = camera.position + np.where(geom >= 0, distance, 0.0)[:, None] * directions
    view = -directions / np.linalg.norm(directions, axis=1, keepdims=True)
    facing = np.sign(np.einsum("ij,ij->i", normal, view))[:, None]
    return Hits(geom, depth, point, normal * facing, view)


def shade(
    posed: Posed, hits: Hits, albedo: NDArray[np.float32], light: Light
) -> NDArray[np.float32]:
    """Light the hit surfaces of colour `albedo` (n, 3) in 0..1, with cast shadows; (n, 3)."""
    to_light = light.position - hits.point
    to_light /= np.linalg.norm(to_light, axis=1, keepdims=True)
    lambert = np.maximum(np.einsum("ij,ij->i", hits.normal, to_light), 0.0)
    half = to_light + hits.view
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    gloss = np.maximum(np.einsum("ij,ij->i", hits.normal, half), 0.0) ** light.shininess
    lit = np.zeros(len(lambert))
    candidates = np.flatnonzero((hits.geom >= 0) & (lambert > 0))
    lit[candidates] = reached(posed, light.position, hits.point[candidates])
    diffuse = (light.ambient + light.diffuse * lit * lambert)[:, None]
    colour: NDArray[np.float32] = (albedo * diffuse).astype(np.float32)
    colour += (light.specular * lit * gloss * (lambert > 0))[:, None].astype(np.float32)
    return colour


def reached(
    posed: Posed, origin: NDArray[np.float64], points: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether nothing is in the way from `origin` (3,) to each of the surface `points` (n, 3)."""
    # One origin serves all rays when they start there: distance 1 is the surface.
    _, reach = _cast(posed, origin, points - origin)
    span = np.linalg.norm(points - origin, axis=1)
    free: NDArray[np.bool_] = (reach < 0) | (reach > 1.0 - _SHADOW_BIAS / span * 4)
    return free


def blocked(
    posed: Posed, camera: Camera, points: NDArray[np.float64], geoms: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Whether one of `geoms` is the first thing hit on the way to each of `points` (n, 3)."""
    geom, distance = _cast(posed, camera.position, points - camera.position)
    return np.isin(geom, geoms) & (distance < 1.0)
