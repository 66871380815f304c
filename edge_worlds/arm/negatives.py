"""Pictures without the arm, so that a network learns what is not one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from edge_runtime.errors import SettingError
from edge_worlds import textures
from edge_worlds.arm.model import KEYPOINT_COUNT
from edge_worlds.arm.scene import SceneSampler, photo_paths, random_crop, read_photo
from edge_worlds.rooms.free_space import free_places
from edge_worlds.rooms.poses import camera_pose
from edge_worlds.rooms.renderer import Pinhole, render
from edge_worlds.rooms.room import make_room

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_worlds.arm.model import Arm
    from edge_worlds.rooms.room import Room

_FIELD_OF_VIEW = (40, 80)  # degrees
_PITCH = (-35, 15)  # degrees


class NegativeImage(NamedTuple):
    """A picture without the arm, labelled as those with it are.

    Attributes:
        bgr: (h, w, 3) uint8.
        keypoints: (8, 2) float32, NaN.
        in_image: (8,) bool, all false.
    """

    bgr: NDArray[Any]
    keypoints: NDArray[np.float32]
    in_image: NDArray[np.bool_]


class NegativeSampler:
    """Draws pictures without the arm; the same generator state gives the same picture.

    In equal parts: the arm's own scenes with the arm taken out, views of a furnished room, and
    photographs, if there are some: parts of them, and whole ones as an estimator shrinks them.
    """

    def __init__(
        self, arm: Arm, size: tuple[int, int], photographs: Sequence[Path], room_seed: int
    ) -> None:
        """Sample pictures of `size` (width, height) pixels.

        Args:
            arm: is made invisible.
            size: width and height, pixels.
            photographs: folders of photographs that do not show the arm.
            room_seed: chooses the room that all views are of.

        Raises:
            SettingError: a folder holds no photograph.
        """
        arm.make_invisible()
        self.width, self.height = size
        self._photos = [path for folder in photographs for path in photo_paths(folder)]
        self._scenes = SceneSampler(arm, size)
        self._room, self._places = _furnished(room_seed)

    def sample(self, rng: np.random.Generator) -> NegativeImage:
        """Draw one picture."""
        draw = [self._scene, self._view, self._photograph][
            int(rng.integers(3 if self._photos else 2))
        ]
        nowhere = np.full((KEYPOINT_COUNT, 2), np.nan, np.float32)
        return NegativeImage(draw(rng), nowhere, np.zeros(KEYPOINT_COUNT, bool))

    def _scene(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        return self._scenes.sample(rng).bgr

    def _view(self, rng: np.random.Generator) -> NDArray[Any]:
        yaw, pitch = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(*_PITCH))
        roll = np.radians(rng.uniform(-12, 12))
        place = self._places[rng.integers(len(self._places))]
        angles = (np.array(angle) for angle in (yaw, pitch, roll))
        camera = Pinhole.with_view(self.width, self.height, rng.uniform(*_FIELD_OF_VIEW))
        bgr, _ = render(self._room, camera, camera_pose(place, *angles))
        return textures.photograph(rng, bgr / np.float32(255))

    def _photograph(self, rng: np.random.Generator) -> NDArray[Any]:
        photo = read_photo(self._photos[rng.integers(len(self._photos))])
        if rng.random() < 0.5:  # noqa: PLR2004
            return textures.photograph(rng, random_crop(rng, photo, self.width, self.height))
        whole = np.zeros((self.height, self.width, 3), np.uint8)
        scale = min(self.width / photo.shape[1], self.height / photo.shape[0])
        width, height = (max(1, int(side * scale)) for side in photo.shape[1::-1])
        small = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
        whole[:height, :width] = small if rng.random() < 0.5 else small[:, ::-1]  # noqa: PLR2004
        return whole


def _furnished(seed: int) -> tuple[Room, NDArray[np.float64]]:
    """A room and places in it for a camera; some rooms have none, then it is the next one."""
    while True:
        room = make_room(seed)
        try:
            return room, free_places(room, np.random.default_rng(seed))
        except SettingError:
            seed += 1
