"""From a camera's images to the pictures that the networks see: undistorted, scaled and cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np

from compressed_slam.encoder import STRIDE
from edge_runtime.calibration import Calibration
from edge_runtime.errors import SettingError
from edge_runtime.stereo import coefficients, rectify_pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_Pixel = TypeVar("_Pixel", np.uint8, np.float32)

_SMALLEST = 128  # the correlation pyramid needs feature maps of 16x16


@dataclass(frozen=True)
class Framing:
    """How a whole image becomes a picture: it is scaled, and then a window is cut out of it.

    Attributes:
        size: width, height of the picture: multiples of 8, at least 128.
        scaled: width, height of the image before the cut.
        corner: x, y of the picture's upper left pixel in the scaled image.
    """

    size: tuple[int, int]
    scaled: tuple[int, int]
    corner: tuple[int, int]

    def __post_init__(self) -> None:
        width, height = self.size
        if width % STRIDE or height % STRIDE or min(self.size) < _SMALLEST:
            message = (
                f"a picture of {width}x{height} is not possible: both sides must be multiples of "
                f"{STRIDE} and at least {_SMALLEST}"
            )
            raise SettingError(message)

    @classmethod
    def of_size(cls, width: int, height: int, margin: tuple[int, int] = (0, 0)) -> Framing:
        """A picture of this size; `margin` pixels (x, y) more on either side are cut off."""
        x, y = margin
        return cls((width, height), (width + 2 * x, height + 2 * y), margin)

    @classmethod
    def of_area(cls, camera: Calibration, pixels: int) -> Framing:
        """A picture of about this many pixels, with the image's own proportions.

        What is too much for a multiple of 8 is cut off on the right and below.
        """
        scale = (pixels / (camera.width * camera.height)) ** 0.5
        width, height = int(camera.width * scale), int(camera.height * scale)
        return cls((width - width % STRIDE, height - height % STRIDE), (width, height), (0, 0))


FRAMINGS: dict[str, Callable[[Calibration], Framing]] = {
    # The margin takes off what is black where the image was bent outwards.
    "tum": lambda _: Framing.of_size(320, 240, margin=(16, 8)),
    "euroc": lambda _: Framing.of_size(512, 320),
    "eth3d": lambda camera: Framing.of_area(camera, 384 * 512),
}
"""By preset, as DROID-SLAM's published evaluations cut their pictures."""


class Rectifier:
    """Turns a camera's images into pictures of a pinhole camera without distortion.

    Attributes:
        camera: of the pictures.
        rotation: (3, 3) turns points of the image's optical frame into the picture's.
    """

    def __init__(
        self,
        camera: Calibration,
        framing: Framing,
        rotation: NDArray[np.float64] | None = None,
        matrix: NDArray[np.float64] | None = None,
    ) -> None:
        """Compute the maps, or none where scaling and cutting is all there is to do.

        Args:
            camera: of the images.
            framing: of the pictures.
            rotation: R of a camera info, for one camera of a stereo pair; None turns nothing.
            matrix: (3, 3), of the undistorted image before it is scaled (the left part of a camera
                info's P); None keeps that of `camera`.

        Raises:
            SettingError: a distortion model that is unknown.
        """
        self._source = camera
        self._framing = framing
        self.rotation = np.eye(3) if rotation is None else rotation
        self._turned = not np.allclose(self.rotation, np.eye(3))
        whole = camera.matrix if matrix is None else matrix
        new = _scaled(whole, camera, framing)
        self.camera = Calibration(*framing.size, new, np.zeros(0), "plumb_bob")
        model = _model(camera)
        self._maps: tuple[Any, Any] | None = None
        bent = model.always_bent or camera.distortion.any()
        if bent or self._turned or not np.allclose(whole, camera.matrix):
            x, y = model.maps(
                camera.matrix,
                coefficients(camera),
                self.rotation,
                new,
                framing.size,
                cv2.CV_32FC1,
            )
            self._maps = cv2.convertMaps(x, y, cv2.CV_16SC2)
            # The whole pixels of the map above are rounded down, not to the nearest.
            self._nearest: tuple[Any, Any] = cv2.convertMaps(
                x, y, cv2.CV_16SC2, nninterpolation=True
            )

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """Fx fy cx cy of the pictures, pixels; pixel centres at integers."""
        return self.camera.matrix[[0, 1, 0, 1], [0, 1, 2, 2]]

    def image(self, bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Make the picture, (height, width, 3); black where the image does not reach.

        Where nothing has to be changed it shares memory with the image.

        Raises:
            SettingError: the image has another size than the camera.
        """
        self._check(bgr)
        if self._maps is None:
            # Beyond a half, the linear one would leave out pixels; before, it is ten times faster.
            skips = bgr.shape[1] > 2 * self._framing.scaled[0]
            return self._resized(bgr, cv2.INTER_AREA if skips else cv2.INTER_LINEAR)
        return cv2.remap(bgr, *self._maps, cv2.INTER_LINEAR)  # type: ignore[return-value]

    def depth(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Make the picture's depth, (height, width): that of the nearest pixel, NaN elsewhere.

        Args:
            depth: (H, W) metres, registered to the images.

        Raises:
            SettingError: it has another size than the camera, or the pictures are turned: depth
                along another axis is another.
        """
        self._check(depth)
        if self._turned:
            message = "pictures of a turned (stereo) camera have no depth: use one or the other"
            raise SettingError(message)
        if self._maps is None:
            return self._resized(depth, cv2.INTER_NEAREST_EXACT)
        return cv2.remap(  # type: ignore[return-value]
            depth, *self._nearest, cv2.INTER_NEAREST, borderValue=np.nan
        )

    def _check(self, image: NDArray[Any]) -> None:
        expected = (self._source.height, self._source.width)
        if image.shape[:2] != expected:
            message = (
                f"an image is {image.shape[1]}x{image.shape[0]}, but its camera's calibration is "
                f"for {expected[1]}x{expected[0]}: give that of these images"
            )
            raise SettingError(message)

    def _resized(self, image: NDArray[_Pixel], interpolation: int) -> NDArray[_Pixel]:
        if self._framing.scaled != image.shape[1::-1]:
            image = cv2.resize(image, self._framing.scaled, interpolation=interpolation)  # type: ignore[assignment]
        (width, height), (x, y) = self._framing.size, self._framing.corner
        return image[y : y + height, x : x + width]


def stereo_rectifiers(
    left: Calibration, right: Calibration, from_left: NDArray[np.float64], framing: Framing
) -> tuple[Rectifier, Rectifier]:
    """Turn both cameras of a pair so that a point lies on the same row of both pictures.

    Both pictures have the same matrix, zoomed in until (nearly) nothing black shows; the right
    camera stands along the left one's x axis. Arguments and refusals as of `rectify_pair`.
    """
    first, second = (
        Rectifier(camera, framing, camera.rotation, camera.projection[:, :3])
        for camera in rectify_pair(left, right, from_left)
        if camera.projection is not None
    )
    return first, second


@dataclass(frozen=True)
class _Model:
    """A distortion model: OpenCV's function that makes a camera's maps.

    `always_bent`: it is no pinhole camera even where all coefficients are 0.
    """

    maps: Callable[..., Any]
    always_bent: bool = False


_PINHOLE = _Model(cv2.initUndistortRectifyMap)
_MODELS = {
    "plumb_bob": _PINHOLE,
    "rational_polynomial": _PINHOLE,
    "equidistant": _Model(cv2.fisheye.initUndistortRectifyMap, always_bent=True),
}


def _model(camera: Calibration) -> _Model:
    model = _MODELS.get(camera.model)
    if model is None:
        message = f"unknown distortion model '{camera.model}': known are {', '.join(_MODELS)}"
        raise SettingError(message)
    return model


def _scaled(
    matrix: NDArray[np.float64], camera: Calibration, framing: Framing
) -> NDArray[np.float64]:
    """The picture's matrix, of that of the whole image."""
    scale = np.array(framing.scaled) / (camera.width, camera.height)
    new: NDArray[np.float64] = matrix.copy()
    new[:2] *= scale[:, None]
    # Pixel centres lie at integers, but it is the corners that stay where they are: cv2.resize
    # samples so, too.
    new[:2, 2] += (scale - 1) / 2 - framing.corner
    return new
