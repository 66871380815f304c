"""From a camera's images, or a stereo pair's, to the frames that the tracker takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from compressed_slam.frame import Frame
from compressed_slam.interface import DEPTH, IMAGE, RIGHT
from compressed_slam.undistortion import Framing, Rectifier
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from compressed_slam.interface import CameraMode
    from edge_runtime.calibration import Calibration

_SAME = 1e-3  # of the focal length, by which both cameras' rectified matrices may differ


class Rig:
    """Rectifies and scales what one set of calibrations describes.

    Attributes:
        calibrations: that it was made for, by topic.
        camera: of the frames' pictures.
        rotation: (3, 3) from the (left) camera's optical frame to that of the pictures.
        baseline: (7,) from the left camera's axes to the right one's; None without a pair.
        measures_depth: whether its frames have depth.
    """

    def __init__(
        self, mode: CameraMode, calibrations: Mapping[str, Calibration], pixels: int
    ) -> None:
        """Make frames of about as many pixels as the networks are for.

        Args:
            mode: which images are used.
            calibrations: by the image's topic; a pair's have its rectification.
            pixels: of a picture.

        Raises:
            SettingError: no picture can be made of such a camera, or a pair's calibration lacks
                the rectification or the baseline.
        """
        left = calibrations[IMAGE]
        self.calibrations = dict(calibrations)
        self.measures_depth = mode == "rgbd"
        self.baseline: torch.Tensor | None = None
        framing = Framing.of_area(left, pixels)
        if mode != "stereo":
            self._rectifiers = {IMAGE: Rectifier(left, framing)}
        else:
            self._rectifiers = {
                topic: _of_pair(topic, calibrations[topic], framing) for topic in (IMAGE, RIGHT)
            }
            self.baseline = _baseline(left, calibrations[RIGHT])
        self.camera = self._rectifiers[IMAGE].camera
        self.rotation = self._rectifiers[IMAGE].rotation

    def frame(self, stamp: int, images: Mapping[str, NDArray[Any]]) -> Frame:
        """Make a frame of images by topic, of which all but the first may be missing.

        Raises:
            SettingError: an image has another size than its calibration.
        """
        first, depth, right = self._rectifiers[IMAGE], images.get(DEPTH), images.get(RIGHT)
        return Frame(
            stamp,
            first.image(images[IMAGE]),
            None if depth is None or not self.measures_depth else first.depth(depth),
            None
            if right is None or self.baseline is None
            else self._rectifiers[RIGHT].image(right),
        )


def _of_pair(topic: str, camera: Calibration, framing: Framing) -> Rectifier:
    return Rectifier(camera, framing, camera.rotation, _projection(topic, camera)[:, :3])


def _projection(topic: str, camera: Calibration) -> NDArray[np.float64]:
    if camera.projection is None:
        message = (
            f"the camera info of {topic} has no P: camera_mode stereo needs R and P of both "
            "cameras; calibrate them as a pair"
        )
        raise SettingError(message)
    return camera.projection


def _baseline(left: Calibration, right: Calibration) -> torch.Tensor:
    ours, theirs = _projection(IMAGE, left), _projection(RIGHT, right)
    metres = -theirs[0, 3] / theirs[0, 0]
    if metres <= 0:
        message = (
            f"the right camera's P says that it stands {metres:g} m to the right of the left one: "
            "that must be above 0; calibrate both as a pair, and check which is which"
        )
        raise SettingError(message)
    if np.abs(ours[:, :3] - theirs[:, :3]).max() > _SAME * ours[0, 0]:
        message = (
            "the two cameras' P differ in more than the baseline: rectify them as a pair, to the "
            "same focal length and centre"
        )
        raise SettingError(message)
    return torch.tensor([-metres, 0, 0, 0, 0, 0, 1], dtype=torch.float32)
