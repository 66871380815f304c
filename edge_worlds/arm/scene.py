"""Random scenes of an arm: joints, camera, light, surfaces, backdrop, occluders, noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import mujoco
import numpy as np

from edge_runtime.errors import SettingError
from edge_worlds import textures
from edge_worlds.arm.model import KEYPOINT_COUNT, OCCLUDER_SLOTS
from edge_worlds.arm.renderer import Hits, Light, blocked, cast, shade
from edge_worlds.camera import Camera, look_at

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_worlds.arm.model import Arm, SceneRanges

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg")
_MOST_KEYPOINTS_HIDDEN = 1
_TEXTURE_SIZE = 256


@dataclass(frozen=True)
class LabelledImage:
    """A picture of an arm and where its keypoints are.

    Attributes:
        bgr: (h, w, 3) uint8.
        keypoints: (8, 2) float32 pixels u v, also for keypoints that something hides.
        in_image: (8,) bool, the keypoint's pixel lies inside the picture.
        hidden: (8,) bool, an occluder stands before the keypoint.
        depth: (h, w) float32 metres along the optical axis, NaN where nothing was hit.
        camera: the camera that took it.
        joints: (nq,) joint values in the model's order.
        positions: (8, 3) keypoints in the camera's optical frame [m].
    """

    bgr: NDArray[Any]
    keypoints: NDArray[np.float32]
    in_image: NDArray[np.bool_]
    hidden: NDArray[np.bool_]
    depth: NDArray[np.float32]
    camera: Camera
    joints: NDArray[np.float64]
    positions: NDArray[np.float64]


def photo_paths(folder: Path) -> list[Path]:
    """The photographs below `folder`, sorted.

    Raises:
        SettingError: There is none.
    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES)
    if not paths:
        message = (
            f"backgrounds '{folder}' holds no photograph; give a folder with "
            f"{', '.join(PHOTO_SUFFIXES)} files, or leave it out for procedural backdrops"
        )
        raise SettingError(message)
    return paths


def random_camera(
    rng: np.random.Generator,
    points: NDArray[np.float64],
    width: int,
    height: int,
    ranges: SceneRanges,
) -> Camera:
    """A camera that sees `points` (n, 3), rolled by up to 12 degrees, all else in `ranges`."""
    focal = max(width, height) / 2 / np.tan(np.radians(rng.uniform(*ranges.field_of_view)) / 2)
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(*ranges.elevation))
    direction = np.array(
        [
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ]
    )
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    reach = np.linalg.norm(points - centre, axis=1).max()
    share = rng.uniform(*ranges.share)
    distance = max(reach * focal / (share * min(width, height) / 2), 1.3 * reach)
    eye = centre + distance * direction
    eye[2] = max(eye[2], 0.02)
    sway = (ranges.frame - share) * reach * rng.uniform(-1, 1, 3)
    roll = np.radians(rng.uniform(-12, 12))
    return Camera(matrix, look_at(eye, centre + sway, roll), width, height)


class SceneSampler:
    """Draws labelled pictures of an arm; the same generator state gives the same picture."""

    def __init__(
        self,
        arm: Arm,
        size: tuple[int, int],
        backgrounds: Path | None = None,
        most_occluders: int = OCCLUDER_SLOTS,
    ) -> None:
        """Sample pictures of `size` (width, height) pixels, before photographs if there are some.

        Raises:
            SettingError: `backgrounds` holds no photograph.
        """
        self.arm = arm
        self.most_occluders = most_occluders
        self.width, self.height = size
        self.photos = photo_paths(backgrounds) if backgrounds else []

    def sample(self, rng: np.random.Generator) -> LabelledImage:
        """Draw one picture."""
        arm = self.arm
        arm.hide_occluders()
        joints = arm.random_joints(rng)
        points = arm.keypoints()
        camera = random_camera(rng, points, self.width, self.height, arm.description.scenes)
        return self.picture(rng, joints, camera)

    def picture(
        self, rng: np.random.Generator, joints: NDArray[np.float64], camera: Camera
    ) -> LabelledImage:
        """Take a picture of the arm in a given pose with a given camera, all else random."""
        arm = self.arm
        arm.pose(joints)
        points = arm.keypoints()
        hidden = self._place_occluders(rng, camera, points)
        hits = cast(arm, camera)
        colour = shade(arm, hits, self._albedo(rng, hits), self._light(rng, points))
        scene = self._backdrop(rng)
        solid = hits.geom >= 0
        if rng.random() < 0.5:  # noqa: PLR2004 - half of the arms stand before a bare backdrop
            solid &= hits.geom != arm.floor
        # A soft edge, as a lens makes it: one ray a pixel has hard stairs.
        alpha = cv2.GaussianBlur(
            solid.reshape(self.height, self.width).astype(np.float32), (0, 0), 0.6
        )[..., None]
        surface = np.where(solid[:, None], colour, 0).reshape(scene.shape).astype(np.float32)
        inner = np.where(solid.reshape(self.height, self.width, 1), surface, scene)
        bgr = textures.photograph(rng, alpha * inner + (1 - alpha) * scene)
        pixels = camera.project(points).astype(np.float32)
        local = points @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
        limits = np.array([self.width, self.height]) - 0.5
        inside = np.all((pixels >= -0.5) & (pixels < limits), axis=1)  # noqa: PLR2004
        depth = np.where(np.isfinite(hits.depth), hits.depth, np.nan).astype(np.float32)
        return LabelledImage(
            bgr,
            pixels,
            inside,
            hidden,
            depth.reshape(self.height, self.width),
            camera,
            joints,
            local,
        )

    def _place_occluders(
        self, rng: np.random.Generator, camera: Camera, points: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        arm = self.arm
        arm.hide_occluders()
        reach = np.linalg.norm(points - points.mean(axis=0), axis=1).max()
        shapes = (
            mujoco.mjtGeom.mjGEOM_BOX,
            mujoco.mjtGeom.mjGEOM_ELLIPSOID,
            mujoco.mjtGeom.mjGEOM_CYLINDER,
            mujoco.mjtGeom.mjGEOM_CAPSULE,
        )
        hidden = np.zeros(KEYPOINT_COUNT, bool)
        for slot in range(int(rng.integers(0, self.most_occluders + 1))):
            near = points[rng.integers(KEYPOINT_COUNT)]
            towards = rng.uniform(-0.3, 0.6) * (camera.position - near)
            arm.place_occluder(
                slot,
                shapes[rng.integers(len(shapes))],
                reach * rng.uniform(0.04, 0.3, 3),
                near + towards + reach * rng.uniform(-0.6, 0.6, 3),
                rng.standard_normal(4),
            )
            hidden = blocked(arm, camera, points, arm.occluders)
            inside = np.linalg.norm(arm.data.mocap_pos - camera.position, axis=1).min()
            if hidden.sum() > _MOST_KEYPOINTS_HIDDEN or inside < 0.5 * reach:
                arm.hide_occluders()
                hidden = np.zeros(KEYPOINT_COUNT, bool)
        return hidden

    def _light(self, rng: np.random.Generator, points: NDArray[np.float64]) -> Light:
        reach = np.ptp(points, axis=0).max()
        direction = rng.standard_normal(3)
        direction[2] = abs(direction[2]) + 0.3
        direction /= np.linalg.norm(direction)
        ambient = rng.uniform(0.3, 0.65)
        return Light(
            points.mean(axis=0) + direction * reach * rng.uniform(1.5, 6),
            ambient,
            rng.uniform(0.5, 1.2) * (1.1 - ambient),
            rng.uniform(0.0, 0.5),
            rng.uniform(4, 60),
        )

    def _albedo(self, rng: np.random.Generator, hits: Hits) -> NDArray[np.float32]:
        arm = self.arm
        rgba = arm.model.geom_rgba
        colours = rgba[:, 2::-1].astype(np.float32).copy()
        # The same arm under another white balance, a little worn, a little faded.
        fade = rng.uniform(0.0, 0.25)
        colours = (1 - fade) * colours * rng.uniform(0.85, 1.1, 3) + fade * rng.uniform(0.2, 0.8)
        colours += rng.normal(0, 0.03, colours.shape)
        albedo = colours[hits.geom].astype(np.float32)
        wear = textures.fractal_noise(rng, _TEXTURE_SIZE)
        texture_scale = rng.uniform(200, 1500)
        spots = (hits.point[:, :2] + hits.point[:, 2:]) * texture_scale
        cells = spots.astype(np.int64) % _TEXTURE_SIZE
        albedo *= (1 - rng.uniform(0.0, 0.3) * wear[cells[:, 1], cells[:, 0]])[:, None]
        for geom in (arm.floor, *arm.occluders):
            where = np.flatnonzero(hits.geom == geom)
            texture = textures.surface(rng, _TEXTURE_SIZE)
            scale = rng.uniform(150, 1200)
            flat = (hits.point[where, :2] + 0.7 * hits.point[where, 2:]) * scale
            cells = np.clip(flat, -1e9, 1e9).astype(np.int64) % _TEXTURE_SIZE
            albedo[where] = texture[cells[:, 1], cells[:, 0]]
        limited: NDArray[np.float32] = np.clip(albedo, 0.0, 1.0)
        return limited

    def _backdrop(self, rng: np.random.Generator) -> NDArray[Any]:
        if self.photos and rng.random() < self.arm.description.scenes.photographs:
            path = self.photos[rng.integers(len(self.photos))]
            return random_crop(rng, read_photo(path), self.width, self.height)
        return textures.backdrop(rng, self.width, self.height)


def read_photo(path: Path) -> NDArray[Any]:
    """A photograph, (h, w, 3) uint8 BGR.

    Raises:
        SettingError: It cannot be read.
    """
    # From memory, because OpenCV fills up what is missing of a file that was cut off.
    content = np.frombuffer(path.read_bytes(), np.uint8)
    photo = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if photo is None:
        message = f"background '{path}' is no readable picture; remove or replace it"
        raise SettingError(message)
    return photo


def random_crop(
    rng: np.random.Generator, photo: NDArray[Any], width: int, height: int
) -> NDArray[Any]:
    """A part of `photo`, at least two fifths of it wide, (height, width, 3) float32 in 0..1."""
    rows, columns = photo.shape[:2]
    share = rng.uniform(0.4, 1.0)
    crop_width = min(columns, rows * width / height) * share
    crop_height = crop_width * height / width
    left, top = rng.uniform(0, columns - crop_width), rng.uniform(0, rows - crop_height)
    crop = photo[int(top) : int(top + crop_height) + 1, int(left) : int(left + crop_width) + 1]
    if rng.random() < 0.5:  # noqa: PLR2004
        crop = crop[:, ::-1]
    resized = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
    return resized.astype(np.float32) / 255
