"""Scenes of objects on a table: those of VPG's test cases, random piles, packed groups."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.errors import SettingError
from edge_worlds.tabletop.shapes import Shape, box, random_shape, read_mesh

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

HALF_WORKSPACE = 0.224
"""Half the side of the square about the origin that objects are placed in [m]."""

_VPG_CENTRE = np.array([-0.5, 0.0, 0.001])  # its blocks rest 1 mm above its z = 0
_COLUMNS = 10
_DROP_HEIGHT = 0.15
# Tableau's ten, in which VPG paints its blocks.
COLORS = (
    np.array(
        [
            [78, 121, 167],
            [89, 161, 79],
            [156, 117, 95],
            [242, 142, 43],
            [237, 201, 72],
            [186, 176, 172],
            [255, 87, 89],
            [176, 122, 161],
            [118, 183, 178],
            [255, 157, 167],
        ]
    )
    / 255
)


def turn(axis: int, angle: float) -> NDArray[np.float64]:
    """Rotation (3, 3) about axis 0, 1 or 2 by `angle` radians."""
    cosine, sine = np.cos(angle), np.sin(angle)
    rotation = np.eye(3)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotation[first, first] = rotation[second, second] = cosine
    rotation[first, second], rotation[second, first] = -sine, sine
    return rotation


# VPG's simulator turned some meshes as it loaded them, and the angles in the test cases are of
# what it made of them. So turned, no block of the cases floats, and none cuts into another.
_LONGEST_TO_Z = turn(1, np.pi / 2)
_VPG_TURNS = {
    "0.obj": _LONGEST_TO_Z,
    "1.obj": _LONGEST_TO_Z,
    "2.obj": turn(0, np.radians(-15.5)),
    "3.obj": _LONGEST_TO_Z,
    "7.obj": np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    "8.obj": _LONGEST_TO_Z,
}


@dataclass(frozen=True)
class SceneObject:
    """A shape at a place.

    Attributes:
        shape: what it is.
        color: r, g, b in 0..1.
        position: (3,) of the shape's origin in the workspace frame [m].
        rotation: (3, 3) from the shape's frame to the workspace frame.
    """

    shape: Shape
    color: tuple[float, float, float]
    position: NDArray[np.float64]
    rotation: NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """Objects on the table, whose middle is the origin of the workspace frame (z up).

    `dropped`: the objects fall one after the other, so that they may lie on each other;
    otherwise they are put down where they are, all at once.
    """

    name: str
    objects: tuple[SceneObject, ...]
    dropped: bool = False


def read_scene(path: Path, meshes: Path) -> Scene:
    """Read a test case of VPG; its spare objects outside the workspace are left out.

    Args:
        path: one object a line: mesh, r g b (0..1), x y z [m], Euler angles alpha beta gamma
            [rad], which turn it by Rx(alpha) Ry(beta) Rz(gamma). VPG's own meshes stand in
            these files as its simulator had turned them before; others as they are.
        meshes: folder of the mesh files.

    Raises:
        SettingError: The file is missing, a line is not such a line, or a mesh is not there.
    """
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        message = f"scene '{path}' cannot be read ({error}); give a text file, one object a line"
        raise SettingError(message) from None
    objects = [
        _read_object(line, f"scene '{path}', line {number}", meshes)
        for number, line in enumerate(lines, 1)
    ]
    within = [each for each in objects if _in_workspace(each.position)]
    if not within:
        message = f"scene '{path}' has no object in the workspace; give x in [-0.724, -0.276]"
        raise SettingError(message)
    return Scene(path.stem, tuple(within))


def _read_object(line: str, where: str, meshes: Path) -> SceneObject:
    name, *rest = line.split()
    try:
        numbers = np.array([float(value) for value in rest])
    except ValueError:
        numbers = np.array([np.nan])
    if len(numbers) != _COLUMNS - 1 or not np.isfinite(numbers).all():
        message = (
            f"{where}: '{line.strip()}' is refused; give a mesh and 9 finite numbers: r g b, "
            "x y z, alpha beta gamma"
        )
        raise SettingError(message)
    if not (meshes / name).is_file():
        known = ", ".join(sorted(file.name for file in meshes.glob("*.obj"))) or "none"
        message = f"{where}: there is no mesh '{name}' in '{meshes}'; there are {known}"
        raise SettingError(message)
    red, green, blue = numbers[:3]
    alpha, beta, gamma = numbers[6:]
    rotation = turn(0, alpha) @ turn(1, beta) @ turn(2, gamma) @ _VPG_TURNS.get(name, np.eye(3))
    position = numbers[3:6] - _VPG_CENTRE
    return SceneObject(_mesh(meshes / name), (red, green, blue), position, rotation)


@lru_cache(maxsize=256)
def _mesh(path: Path) -> Shape:
    return read_mesh(path)


def _in_workspace(position: NDArray[np.float64]) -> bool:
    return bool(np.abs(position[:2]).max() <= HALF_WORKSPACE and abs(position[2]) < 1)


def random_pile(
    rng: np.random.Generator, count: int, shapes: Sequence[Shape] = (), spread: float = 0.124
) -> Scene:
    """Draw objects that fall on the table one after the other, turned at random, as in VPG.

    Args:
        rng: what chance there is.
        count: of objects.
        shapes: to choose from; none: `random_shape`.
        spread: half the side of the square that they fall into [m].
    """
    objects = []
    for k in range(count):
        shape = shapes[int(rng.integers(len(shapes)))] if shapes else random_shape(rng)
        place = np.array([*rng.uniform(-spread, spread, 2), _DROP_HEIGHT])
        objects.append(_painted(k, shape, place, _random_rotation(rng)))
    return Scene("pile", tuple(objects), dropped=True)


def packed_group(rng: np.random.Generator, count: int) -> Scene:
    """Draw boxes that stand side by side with hardly a gap, where no finger goes between.

    They fill one or two rows, which are turned and put down somewhere in the workspace.
    """
    objects = []
    rows = int(rng.integers(1, 3))
    gap = rng.uniform(0.0005, 0.003)
    ends = np.zeros(rows)
    depth = rng.uniform(0.035, 0.055)
    heading = turn(2, rng.uniform(0, 2 * np.pi))
    for k in range(count):
        row = int(np.argmin(ends))
        width, height = rng.uniform(0.03, 0.06), rng.uniform(0.025, 0.055)
        middle = np.array([ends[row] + width / 2, (row - (rows - 1) / 2) * (depth + gap), 0])
        ends[row] += width + gap
        middle[2] = height / 2
        objects.append(_painted(k, box(width, depth, height), middle, heading))
    length = ends.max()
    room = HALF_WORKSPACE - 0.5 * np.hypot(length, rows * depth)
    offset = np.array([*rng.uniform(-room, room, 2), 0]) if room > 0 else np.zeros(3)
    centred = [
        SceneObject(
            each.shape,
            each.color,
            heading @ (each.position - (length / 2, 0, 0)) + offset,
            each.rotation,
        )
        for each in objects
    ]
    return Scene("packed", tuple(centred))


def _painted(
    k: int, shape: Shape, position: NDArray[np.float64], rotation: NDArray[np.float64]
) -> SceneObject:
    red, green, blue = COLORS[k % len(COLORS)]
    return SceneObject(shape, (red, green, blue), position, rotation)


def _random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """Rotation (3, 3), uniform over all of them (Shoemake 1992)."""
    w, x, y, z = (quaternion := rng.normal(size=4)) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
