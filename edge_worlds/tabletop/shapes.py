"""Rigid shapes made of convex parts: random ones, and those of mesh files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import mujoco
import numpy as np

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

_CONVEX = 0.98  # share of its hull that a shape fills at least which is taken as convex
_SLABS = 6
_THINNEST_SLAB = 5e-4
_TURNS = np.linspace(0, 2 * np.pi, 32, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURNS), np.sin(_TURNS)], axis=1)


@dataclass(frozen=True)
class Part:
    """A convex piece of a shape.

    Attributes:
        kind: "box" and "cylinder" (upright) have `size`, "hull" has `vertices`.
        size: half the extents (x, y, z), of a cylinder (radius, half length, 0) [m].
        position: (3,) of the piece's middle in the shape's frame [m].
        vertices: (n, 3) in the shape's frame [m]; the piece is their convex hull.
    """

    kind: Literal["box", "cylinder", "hull"]
    size: tuple[float, float, float] = (0.0, 0.0, 0.0)
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    vertices: NDArray[np.float64] | None = None

    def points(self) -> NDArray[np.float64]:
        """Points (n, 3) whose hull is the piece, in the shape's frame [m]."""
        if self.vertices is not None:
            return self.vertices
        if self.kind == "box":
            outline, reach = (
                np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * self.size[:2],
                self.size[2],
            )
        else:
            outline, reach = self.size[0] * _CIRCLE, self.size[1]
        ends = [np.column_stack([outline, np.full(len(outline), z)]) for z in (-reach, reach)]
        return np.concatenate(ends) + self.position


@dataclass(frozen=True)
class Shape:
    """A rigid shape; it is the union of its parts."""

    name: str
    parts: tuple[Part, ...]

    def points(self) -> NDArray[np.float64]:
        """Points (n, 3) whose hull is that of the shape [m]."""
        return np.concatenate([part.points() for part in self.parts])


def box(x: float, y: float, z: float) -> Shape:
    """Return a box of these extents [m]."""
    return Shape("box", (Part("box", (x / 2, y / 2, z / 2)),))


def cylinder(radius: float, length: float) -> Shape:
    """Return an upright cylinder [m]."""
    return Shape("cylinder", (Part("cylinder", (radius, length / 2, 0.0)),))


def prism(sides: int, radius: float, length: float) -> Shape:
    """Return an upright prism over a regular polygon whose corners lie at `radius` [m]."""
    turn = 2 * np.pi * np.arange(sides) / sides
    return _extruded(f"prism-{sides}", radius * np.cos(turn), radius * np.sin(turn), length)


def half_cylinder(radius: float, length: float) -> Shape:
    """Return an upright half of a cylinder [m]."""
    turn = np.linspace(0, np.pi, 13)
    return _extruded("half-cylinder", radius * np.cos(turn), radius * (np.sin(turn) - 0.5), length)


def corner(side: float, thickness: float, length: float) -> Shape:
    """Return an upright L: two walls of this thickness, `side` and `length` long [m]."""
    wall, rest = thickness / 2, (side - thickness) / 2
    return Shape(
        "corner",
        (
            Part("box", (side / 2, wall, length / 2), (0.0, wall - side / 2, 0.0)),
            Part("box", (wall, rest, length / 2), (wall - side / 2, wall, 0.0)),
        ),
    )


def _extruded(name: str, x: NDArray[np.float64], y: NDArray[np.float64], length: float) -> Shape:
    outline = np.stack([x, y], axis=1)
    ends = [np.column_stack([outline, np.full(len(x), z)]) for z in (-length / 2, length / 2)]
    return Shape(name, (Part("hull", vertices=np.concatenate(ends)),))


_RANDOM: tuple[Callable[[np.random.Generator], Shape], ...] = (
    lambda rng: box(*rng.uniform((0.025, 0.025, 0.02), (0.06, 0.1, 0.06))),
    lambda rng: box(*rng.uniform((0.025, 0.025, 0.02), (0.06, 0.1, 0.06))),
    lambda rng: cylinder(rng.uniform(0.012, 0.03), rng.uniform(0.025, 0.1)),
    lambda rng: prism(3, rng.uniform(0.025, 0.035), rng.uniform(0.03, 0.09)),
    lambda rng: prism(6, rng.uniform(0.015, 0.032), rng.uniform(0.025, 0.09)),
    lambda rng: half_cylinder(rng.uniform(0.02, 0.035), rng.uniform(0.03, 0.09)),
    lambda rng: corner(
        rng.uniform(0.045, 0.08), rng.uniform(0.015, 0.022), rng.uniform(0.02, 0.05)
    ),
)


def random_shape(rng: np.random.Generator) -> Shape:
    """Draw a shape of the size of a toy block, 2 to 10 cm."""
    return _RANDOM[rng.integers(len(_RANDOM))](rng)


def read_mesh(path: Path) -> Shape:
    """Read a Wavefront OBJ in metres; a concave one is cut into slabs along its longest axis.

    Raises:
        SettingError: The file is missing or is no mesh of finite vertices.
    """
    try:
        vertices, faces = _read_obj(path)
    except (OSError, ValueError, IndexError) as error:
        message = f"mesh '{path}' cannot be read ({error}); give a Wavefront OBJ with faces"
        raise SettingError(message) from None
    pieces = [vertices]
    if _volume(vertices, faces) < _CONVEX * _hull_volume(vertices):
        pieces = _merged(_slabs(vertices, faces))
    return Shape(path.stem, tuple(Part("hull", vertices=piece) for piece in pieces))


def _read_obj(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    vertices, faces = [], []
    for line in path.read_text().splitlines():
        kind, *rest = line.split() or [""]
        if kind == "v":
            vertices.append([float(value) for value in rest[:3]])
        elif kind == "f":
            corners = [int(value.partition("/")[0]) for value in rest]
            corners = [k - 1 if k > 0 else len(vertices) + k for k in corners]
            faces += [(corners[0], *corners[k : k + 2]) for k in range(1, len(corners) - 1)]
    points, triangles = np.array(vertices, float), np.array(faces, int)
    if points.shape[1:] != (3,) or triangles.shape[1:] != (3,) or not np.isfinite(points).all():
        message = f"{len(vertices)} vertices, {len(faces)} faces, or some are not finite"
        raise ValueError(message)
    if triangles.min() < 0 or triangles.max() >= len(points):
        message = "a face names a vertex that is not there"
        raise ValueError(message)
    return points, triangles


def _volume(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> float:
    """Volume of a closed mesh [m3], by the divergence theorem."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return abs(float(np.einsum("ij,ij->", a, np.cross(b, c)))) / 6


def _hull_volume(points: NDArray[np.float64]) -> float:
    """Volume of the convex hull of `points` (n, 3) [m3]."""
    spec = mujoco.MjSpec()
    spec.add_mesh(name="hull", uservert=points.ravel())
    body = spec.worldbody.add_body()
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname="hull", density=1.0)
    return float(spec.compile().body_mass[1])


def _slabs(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """Points (n, 3) of the mesh between each two of the planes across its longest axis."""
    axis = int(np.argmax(np.ptp(vertices, axis=0)))
    low, high = vertices[:, axis].min(), vertices[:, axis].max()
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    start, end = vertices[edges[:, 0]], vertices[edges[:, 1]]
    cuts = np.linspace(low, high, _SLABS + 1)
    sections = [_section(start, end, axis, cut) for cut in cuts]
    slabs = []
    for k in range(_SLABS):
        inside = (vertices[:, axis] >= cuts[k]) & (vertices[:, axis] <= cuts[k + 1])
        points = np.concatenate([sections[k], vertices[inside], sections[k + 1]])
        if np.ptp(points, axis=0).min() > _THINNEST_SLAB:
            slabs.append(points)
    return slabs


def _merged(slabs: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Join neighbours that are convex together."""
    merged = slabs[:1]
    for slab in slabs[1:]:
        joined = np.concatenate([merged[-1], slab])
        apart = _hull_volume(merged[-1]) + _hull_volume(slab)
        if apart > _CONVEX * _hull_volume(joined):
            merged[-1] = joined
        else:
            merged.append(slab)
    return merged


def _section(
    start: NDArray[np.float64], end: NDArray[np.float64], axis: int, cut: float
) -> NDArray[np.float64]:
    """Points (n, 3) where edges from `start` to `end` cross the plane at `cut`."""
    before, after = start[:, axis] - cut, end[:, axis] - cut
    crossing = before * after < 0
    share = (before[crossing] / (before[crossing] - after[crossing]))[:, None]
    points: NDArray[np.float64] = start[crossing] * (1 - share) + end[crossing] * share
    return points
