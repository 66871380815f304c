"""The colour and depth camera beside the table, with what real ones do wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge_worlds.arm.renderer import Light, cast, reached, shade
from edge_worlds.camera import Camera, look_at
from edge_worlds.tabletop.scene import HALF_WORKSPACE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_worlds.arm.renderer import Hits
    from edge_worlds.tabletop.world import TabletopWorld

_FOCAL_LENGTH = 618.62 / 640  # of VPG's camera, in picture widths
_LIGHT = Light(np.array([0.4, 0.6, 1.3]), ambient=0.35, diffuse=0.65, specular=0.15, shininess=20)
_NOISE_DISTANCE = 0.7  # metres: depth noise is given there, and grows with the square
_EDGE = 0.02  # metres of depth within 3x3 pixels; the bare table has less, seen obliquely
_FARTHEST = 100.0  # metres
_HIGHEST = 0.1  # metres of objects that lie on the table
_HOLE_SIZE = 24  # pixels across, of 640


@dataclass(frozen=True)
class CameraFaults:
    """How far a depth camera is from a perfect one.

    Attributes:
        noise: standard deviation of the depth at 0.7 m [m]; it grows with the square of the depth.
        holes: share of the pixels without depth, in blots.
        flying: share of the pixels at edges that lie somewhere between front and back.
        baseline: between the camera and the emitter on its right, whose shadows have no depth [m].
        rotation: largest error of the believed camera pose [rad].
        translation: largest error of the believed camera pose along each axis [m].
    """

    noise: float = 0.0
    holes: float = 0.0
    flying: float = 0.0
    baseline: float = 0.0
    rotation: float = 0.0
    translation: float = 0.0


PERFECT = CameraFaults()
REAL = CameraFaults(
    noise=0.002,
    holes=0.1,
    flying=0.5,
    baseline=0.05,
    rotation=np.radians(1.0),
    translation=0.005,
)
"""About a structured-light camera that was calibrated by hand."""


@dataclass(frozen=True)
class Picture:
    """What the camera gives.

    Attributes:
        color: (h, w, 3) uint8 RGB.
        depth: (h, w) float32 metres along the optical axis, NaN where missing.
        matrix: (3, 3) camera matrix K [pixels].
        camera_pose: (4, 4) from the optical frame to the workspace frame, as it is believed.
        true_pose: (4, 4) the same as it is.
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    matrix: NDArray[np.float64]
    camera_pose: NDArray[np.float64]
    true_pose: NDArray[np.float64]


def oblique_camera(
    width: int = 640,
    height: int = 480,
    eye: tuple[float, float, float] = (-0.5, 0.0, 0.5),
) -> Camera:
    """Return a camera with VPG's view angle at `eye` [m] that looks at the middle of the table."""
    focal = _FOCAL_LENGTH * width
    middle = (width - 1) / 2, (height - 1) / 2
    matrix = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])
    return Camera(matrix, look_at(np.array(eye), np.zeros(3)), width, height)


def crop_to_workspace(camera: Camera) -> Camera:
    """Return the part of a camera's picture in which the workspace lies: less work, same pixels."""
    sides = (-HALF_WORKSPACE, HALF_WORKSPACE)
    corners = np.array([(x, y, z) for x in sides for y in sides for z in (0.0, _HIGHEST)])
    seen = camera.project(corners)
    low = np.maximum(np.floor(seen.min(axis=0)), 0)
    high = np.minimum(np.ceil(seen.max(axis=0)) + 1, (camera.width, camera.height))
    matrix = camera.matrix.copy()
    matrix[:2, 2] -= low
    width, height = (int(extent) for extent in high - low)
    return Camera(matrix, camera.world_to_camera, width, height)


def take_picture(
    world: TabletopWorld,
    camera: Camera,
    faults: CameraFaults = PERFECT,
    rng: np.random.Generator | None = None,
    pose_error: NDArray[np.float64] | None = None,
    *,
    colored: bool = True,
) -> Picture:
    """Look at the table.

    Args:
        world: what is there; the gripper is out of sight.
        camera: true pose and size of the picture.
        faults: what is wrong with it.
        rng: draws the faults; left out: seed 0.
        pose_error: (4, 4) of a camera that stays where it is; left out: drawn for this picture.
        colored: whether to shade it; not shaded it is black, and made in half the time.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    hits = cast(world, camera)
    depth = np.where(hits.geom >= 0, hits.depth, np.nan)
    if faults.baseline:
        depth[~_lit_by_emitter(world, camera, hits, faults.baseline)] = np.nan
    shape = camera.height, camera.width
    true_pose = np.linalg.inv(camera.world_to_camera).astype(np.float64)
    color = _color(world, hits) if colored else np.zeros((len(hits.geom), 3), np.uint8)
    return Picture(
        color.reshape(*shape, 3),
        _spoil(depth.reshape(shape).astype(np.float32), faults, rng),
        camera.matrix,
        true_pose @ (draw_pose_error(faults, rng) if pose_error is None else pose_error),
        true_pose,
    )


def draw_pose_error(faults: CameraFaults, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw by how much a camera was calibrated wrongly: (4, 4) between optical frames."""
    axis = rng.normal(size=3)
    angle = rng.uniform(-1, 1) * faults.rotation
    error = np.eye(4)
    error[:3, :3] = cv2.Rodrigues(axis / np.linalg.norm(axis) * angle)[0]
    error[:3, 3] = rng.uniform(-1, 1, 3) * faults.translation
    return error


def _color(world: TabletopWorld, hits: Hits) -> NDArray[np.uint8]:
    albedo = world.model.geom_rgba[hits.geom, :3] * (hits.geom >= 0)[:, None]
    lit = shade(world, hits, albedo.astype(np.float32), _LIGHT)
    color: NDArray[np.uint8] = (np.clip(lit, 0, 1) * 255).astype(np.uint8)
    return color


def _lit_by_emitter(
    world: TabletopWorld, camera: Camera, hits: Hits, baseline: float
) -> NDArray[np.bool_]:
    right = camera.world_to_camera[0, :3]
    seen = np.flatnonzero(hits.geom >= 0)
    lit = np.ones(len(hits.geom), bool)
    lit[seen] = reached(world, camera.position + baseline * right, hits.point[seen])
    return lit


def _spoil(
    depth: NDArray[np.float32], faults: CameraFaults, rng: np.random.Generator
) -> NDArray[np.float32]:
    if faults.flying:
        depth = _flying_pixels(depth, faults.flying, rng)
    if faults.noise:
        deviation = faults.noise * (depth / _NOISE_DISTANCE) ** 2
        depth = depth + deviation * rng.standard_normal(depth.shape, np.float32)
    if faults.holes:
        depth = np.where(_blots(depth.shape, faults.holes, rng), np.float32(np.nan), depth)
    return depth


def _flying_pixels(
    depth: NDArray[np.float32], share: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Put pixels beside an edge at a random depth between its two sides."""
    window = np.ones((3, 3), np.uint8)
    missing = np.isnan(depth)
    near = cv2.erode(np.where(missing, np.float32(_FARTHEST), depth), window)
    far = cv2.dilate(np.where(missing, np.float32(0), depth), window)
    at_edge = ~missing & (far - near > _EDGE) & (rng.random(depth.shape) < share)
    between = near + rng.random(depth.shape, np.float32) * (far - near)
    return np.where(at_edge, between, depth)


def _blots(shape: tuple[int, ...], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mask (h, w) of blots that cover `share` of it."""
    height, width = shape
    size = max(_HOLE_SIZE * width // 640, 1)
    coarse = rng.random((height // size + 2, width // size + 2), np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    covered: NDArray[np.bool_] = smooth < np.quantile(smooth, share)
    return covered
