"""Compiled ray casting of boxes and upright cylinders: what a pixel sees, and its colour.

`render_rows` fills a band of rows and holds no interpreter lock: threads share a picture. (Numba's
`prange` would tie this to its threading layer, and one of those ends the process when two threads
of a program enter it.) All kernels stand in one file because Numba's cache of a function does not
notice that another file has changed.

A ray is `origin + t * direction` with an optical z component of 1: t is the optical depth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.compiled import compiled

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    Array = NDArray[Any]
    Vector = tuple[float, float, float]
    View = tuple[Array, Array, Array, Array, Array]
    Textures = tuple[Array, Array, Array]

FACES, Y_FACES, Z_FACES = 6, 2, 4
"""A solid's faces -x +x -y +y -z +z of its own frame, and the first across y and z.

A cylinder's mantle is face 0.
"""
LEVELS = 8
"""Sizes in which each texture is kept, each half of the one before."""

_TILE = 16  # side in pixels of the squares that share one list of solids
_PROBES = 4.0
_COARSER = 2.0  # texels a pixel at which the next level serves better
_TINY = 1e-12
_NOTHING_NEARER = 1e30
_LANE = np.uint64(0x1FFFFF)
_GREEN, _RED = np.uint64(21), np.uint64(42)  # where the lanes of a spread texel begin

_compiled = compiled(nogil=True, fastmath=True, error_model="numpy")


@_compiled
def _reciprocal(value: float) -> float:
    """1 / value, finite for 0: fast mathematics knows no infinity."""
    return 1.0 / _TINY if abs(value) < _TINY else 1.0 / value


@_compiled
def _turned(shapes: Array, solid: int, ray: Vector) -> Vector:
    """A world direction in the solid's frame."""
    cosine, sine = shapes[solid, 3], shapes[solid, 4]
    return cosine * ray[0] + sine * ray[1], cosine * ray[1] - sine * ray[0], ray[2]


@_compiled
def _box_span(shapes: Array, solid: int, ray: Vector) -> tuple[float, float, int, int]:
    """Where a ray in the solid's frame enters and leaves a box, and across which axes."""
    enter, leave, first, last = -_NOTHING_NEARER, _NOTHING_NEARER, 0, 0
    for axis in range(3):
        inverse = _reciprocal(ray[axis])
        middle = -shapes[solid, axis] * inverse
        reach = shapes[solid, 5 + axis] * abs(inverse)
        if middle - reach > enter:
            enter, first = middle - reach, axis
        if middle + reach < leave:
            leave, last = middle + reach, axis
    return enter, leave, first, last


@_compiled
def _cylinder_span(shapes: Array, solid: int, ray: Vector) -> tuple[float, float, int, int]:
    """As `_box_span`; axis -1 is the mantle."""
    x, y, radius = shapes[solid, 0], shapes[solid, 1], shapes[solid, 5]
    scale = _reciprocal(ray[0] * ray[0] + ray[1] * ray[1])
    middle = -(x * ray[0] + y * ray[1]) * scale
    square = middle * middle - (x * x + y * y - radius * radius) * scale
    if square <= 0:
        return 1.0, 0.0, 0, 0
    reach = np.sqrt(square)
    inverse = _reciprocal(ray[2])
    centre, height = -shapes[solid, 2] * inverse, shapes[solid, 7] * abs(inverse)
    enter, first = middle - reach, -1
    if centre - height > enter:
        enter, first = centre - height, 2
    return enter, min(middle + reach, centre + height), first, 2


@_compiled
def _first_hit(shapes: Array, near: Array, listed: Array, ray: Vector) -> tuple[float, int]:
    """The depth of the first hit and solid * FACES + face.

    `shapes` (n, 9) is what `SolidTable.seen_from` gives; row 0 is the room, seen from inside.
    `listed` are other rows in ascending order of `near` (n,), the least depth of each.
    """
    local = _turned(shapes, 0, ray)
    _, best, _, axis = _box_span(shapes, 0, local)
    hit = 2 * axis + (1 if local[axis] > 0 else 0)
    for solid in listed:
        if near[solid] >= best:
            break
        local = _turned(shapes, solid, ray)
        if shapes[solid, 8] > 0:
            enter, leave, axis, _ = _cylinder_span(shapes, solid, local)
        else:
            enter, leave, axis, _ = _box_span(shapes, solid, local)
        if 0 < enter < leave and enter < best:
            face = 0 if axis < 0 else 2 * axis + (1 if local[axis] < 0 else 0)
            best, hit = enter, solid * FACES + face
    return best, hit


@_compiled
def _colour(
    shapes: Array, atlas: Textures, hit: int, depth: float, rays: tuple[Vector, Vector, Vector]
) -> Vector:
    """The filtered texture where a ray hits; `rays`: it, and its change to the right and down."""
    texels, sizes, offsets = atlas
    solid, face = hit // FACES, hit % FACES
    ray, right, down = rays
    dx, dy, dz = _turned(shapes, solid, ray)
    rx, ry, rz = _turned(shapes, solid, right)
    bx, by, bz = _turned(shapes, solid, down)
    x, y, z = shapes[solid, 0] + depth * dx, shapes[solid, 1] + depth * dy, shapes[solid, 2]
    half_x, half_y, half_z = shapes[solid, 5], shapes[solid, 6], shapes[solid, 7]
    size = (sizes[hit, 0], sizes[hit, 1])
    # On a plane n p = c the point moves by depth * (right - ray * (n right) / (n ray)) a pixel.
    if face >= Z_FACES:
        scale = _reciprocal(dz)
        across, along = rz * scale, bz * scale
        u, v = 0.5 + 0.5 * x / half_x, 0.5 + 0.5 * y / half_y
        su, sv = depth * size[0] * 0.5 / half_x, depth * size[1] * 0.5 / half_y
        ux, uy = su * (rx - dx * across), su * (bx - dx * along)
        vx, vy = sv * (ry - dy * across), sv * (by - dy * along)
    else:
        if shapes[solid, 8] > 0:
            nx, ny = x / half_x, y / half_x
            u, width = 0.5 + np.arctan2(y, x) / (2 * np.pi), 2 * np.pi * half_x
        elif face >= Y_FACES:
            nx, ny = 0.0, -1.0
            u, width = 0.5 + 0.5 * x / half_x, 2 * half_x
        else:
            nx, ny = 1.0, 0.0
            u, width = 0.5 + 0.5 * y / half_y, 2 * half_y
        scale = _reciprocal(nx * dx + ny * dy)
        across, along = (nx * rx + ny * ry) * scale, (nx * bx + ny * by) * scale
        v = 0.5 - 0.5 * (z + depth * dz) / half_z
        su, sv = depth * size[0] / width, depth * size[1] * 0.5 / half_z
        ux = su * (nx * (ry - dy * across) - ny * (rx - dx * across))
        uy = su * (nx * (by - dy * along) - ny * (bx - dx * along))
        vx, vy = -sv * (rz - dz * across), -sv * (bz - dz * along)
    return _filtered(texels, offsets[hit], size, (u, v), (ux, vx, uy, vy))


@_compiled
def _filtered(
    texels: Array,
    offsets: Array,
    size: tuple[int, int],
    place: tuple[float, float],
    footprint: tuple[float, float, float, float],
) -> Vector:
    """Trilinear probes along the longer side of a pixel's footprint, (ux, vx, uy, vy) texels."""
    ux, vx, uy, vy = footprint
    length_x, length_y = ux * ux + vx * vx, uy * uy + vy * vy
    mu, mv = (ux, vx) if length_x > length_y else (uy, vy)
    longer = np.sqrt(max(length_x, length_y)) + _TINY
    shorter = abs(ux * vy - uy * vx) / longer
    probes = max(int(min(longer / max(shorter, 1.0) + 0.5, _PROBES)), 1)
    share = 1.0 / probes
    fine, scale = 0, longer * share
    while scale >= _COARSER and fine + 2 < LEVELS:
        fine, scale = fine + 1, 0.5 * scale
    weight = min(max(scale - 1.0, 0.0), 1.0)
    step_u, step_v = share * mu / size[0], share * mv / size[1]
    blue, green, red = 0.0, 0.0, 0.0
    for k in range(probes):
        offset = k - 0.5 * (probes - 1)
        u, v = place[0] + offset * step_u, place[1] + offset * step_v
        for level in range(fine, fine + (2 if weight > 0 else 1)):
            lanes = _bilinear(texels, offsets[level], (size[0] >> level, size[1] >> level), u, v)
            amount = share * (weight if level > fine else 1.0 - weight)
            blue += amount * (lanes & _LANE)
            green += amount * (lanes >> _GREEN & _LANE)
            red += amount * (lanes >> _RED)
    return blue / 4096, green / 4096, red / 4096


@_compiled
def _spread(texel: Any) -> Any:  # noqa: ANN401 - unsigned scalars
    """A texel with 21 bits for each colour: weights up to 4096 multiply all three at once."""
    packed = np.uint64(texel)
    blue, green = packed & np.uint64(0xFF), packed & np.uint64(0xFF00)
    red = packed & np.uint64(0xFF0000)
    return blue | green << np.uint64(13) | red << np.uint64(26)


@_compiled
def _bilinear(texels: Array, first: int, size: tuple[int, int], u: float, v: float) -> np.uint64:
    """4096 times the colour at u, v in 0..1 of one level that begins at `first`, spread."""
    width, height = max(size[0], 1), max(size[1], 1)
    x = min(max(u * width - 0.5, 0.0), width - 1.0)
    y = min(max(v * height - 0.5, 0.0), height - 1.0)
    left, top = int(x), int(y)
    fx, fy = np.uint64(64 * (x - left) + 0.5), np.uint64(64 * (y - top) + 0.5)
    gx, gy = np.uint64(64) - fx, np.uint64(64) - fy
    upper = first + top * width + left
    lower = upper + (width if top + 1 < height else 0)
    right = 1 if left + 1 < width else 0
    above = gx * _spread(texels[upper]) + fx * _spread(texels[upper + right])
    below = gx * _spread(texels[lower]) + fx * _spread(texels[lower + right])
    mixed: np.uint64 = gy * above + fy * below
    return mixed


@_compiled
def _ray(rays: Array, x: float, y: float) -> Vector:
    """Direction through pixel x, y; `rays` (3, 3): that of pixel 0 0, the steps in x and in y."""
    return (
        rays[0, 0] + x * rays[1, 0] + y * rays[2, 0],
        rays[0, 1] + x * rays[1, 1] + y * rays[2, 1],
        rays[0, 2] + x * rays[1, 2] + y * rays[2, 2],
    )


@_compiled
def _listed(view: View, row: int, column: int, room: Array) -> Array:
    """The solids whose pixel boxes touch a tile, nearest first, written to `room`."""
    _, _, boxes, order, _ = view
    count = 0
    for solid in order:
        if (
            boxes[solid, 0] < column + _TILE
            and boxes[solid, 1] < row + _TILE
            and boxes[solid, 2] >= column
            and boxes[solid, 3] >= row
        ):
            room[count] = solid
            count += 1
    return room[:count]


@_compiled
def _at_edge(hits: Array, row: int, column: int) -> bool:
    """Whether one of the four neighbours shows another face."""
    hit, (rows, columns) = hits[row, column], hits.shape
    return bool(
        hits[max(row - 1, 0), column] != hit
        or hits[min(row + 1, rows - 1), column] != hit
        or hits[row, max(column - 1, 0)] != hit
        or hits[row, min(column + 1, columns - 1)] != hit
    )


@_compiled
def _edge_colour(view: View, atlas: Textures, listed: Array, x: int, y: int) -> Vector:
    """The mean colour of four rays through pixel x, y."""
    shapes, near, _, _, rays = view
    right = (0.5 * rays[1, 0], 0.5 * rays[1, 1], 0.5 * rays[1, 2])
    down = (0.5 * rays[2, 0], 0.5 * rays[2, 1], 0.5 * rays[2, 2])
    blue, green, red = 0.0, 0.0, 0.0
    for sample in range(4):
        ray = _ray(rays, x - 0.25 + 0.5 * (sample & 1), y - 0.25 + 0.5 * (sample >> 1))
        depth, hit = _first_hit(shapes, near, listed, ray)
        b, g, r = _colour(shapes, atlas, hit, depth, (ray, right, down))
        blue, green, red = blue + 0.25 * b, green + 0.25 * g, red + 0.25 * r
    return blue, green, red


@_compiled
def _cast_rows(view: View, depth: Array, hits: Array, top: int) -> None:
    """Fill `depth` and `hits` (rows, w), solid * FACES + face, of the picture's rows from `top`."""
    shapes, near, _, _, rays = view
    room = np.empty(len(shapes), np.int64)
    rows, columns = hits.shape
    for row in range(0, rows, _TILE):
        for column in range(0, columns, _TILE):
            listed = _listed(view, top + row, column, room)
            for y in range(row, min(row + _TILE, rows)):
                for x in range(column, min(column + _TILE, columns)):
                    ray = _ray(rays, x, top + y)
                    depth[y, x], hits[y, x] = _first_hit(shapes, near, listed, ray)


@_compiled
def render_rows(
    view: View, atlas: Textures, bgr: Array, depth: Array, band: tuple[int, int]
) -> None:
    """Fill the rows `band` (first, end) of `bgr` (h, w, 3) uint8 and `depth` (h, w) float32.

    `view`: `shapes` and `near` as in `_first_hit`, pixel boxes (n, 4) around the solids, the solids
    to draw by ascending `near`, `rays` as in `_ray`. `atlas`: texels, sizes, offsets of an `Atlas`.
    Depth is that of the pixel's centre; the colour at a face's edge is the mean of four rays.
    """
    shapes, _, _, _, rays = view
    columns, end = depth.shape[1], band[1]
    # The rows above and below tell which pixels lie at an edge.
    top = max(band[0] - 1, 0)
    rows = min(end + 1, depth.shape[0]) - top
    hits, depths = np.empty((rows, columns), np.int64), np.empty((rows, columns))
    _cast_rows(view, depths, hits, top)
    room = np.empty(len(shapes), np.int64)
    right = (rays[1, 0], rays[1, 1], rays[1, 2])
    down = (rays[2, 0], rays[2, 1], rays[2, 2])
    for row in range(band[0], end, _TILE):
        for column in range(0, columns, _TILE):
            listed = _listed(view, row, column, room)
            for y in range(row, min(row + _TILE, end)):
                for x in range(column, min(column + _TILE, columns)):
                    t = depths[y - top, x]
                    depth[y, x] = t
                    if _at_edge(hits, y - top, x):
                        colour = _edge_colour(view, atlas, listed, x, y)
                    else:
                        seen = (_ray(rays, x, y), right, down)
                        colour = _colour(shapes, atlas, hits[y - top, x], t, seen)
                    for channel in range(3):
                        bgr[y, x, channel] = np.uint8(colour[channel] + 0.5)


@_compiled
def find_lit(shapes: Array, rays: Array, margins: Array, lit: Array) -> None:
    """Set `lit` (m,) to 1 where a ray (m, 3) of length 1 ends freely but for a share `margins`."""
    near = np.zeros(len(shapes))
    listed = np.arange(1, len(shapes))
    for k in range(len(rays)):
        ray = (rays[k, 0], rays[k, 1], rays[k, 2])
        depth, _ = _first_hit(shapes, near, listed, ray)
        lit[k] = depth > 1.0 - margins[k]
