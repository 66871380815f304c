"""What a camera info says about the pixels of the image that it comes with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import MessageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Numbers of coefficients by model, as sensor_msgs/distortion_models names them.
_COEFFICIENTS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (8,), "equidistant": (4,)}


@dataclass(frozen=True)
class Calibration:
    """The pinhole model of an image as it was published: cut out and binned.

    `width`, `height`: pixels of that image. `matrix`: (3, 3), K of that image. `distortion`:
    coefficients in OpenCV's order, which may be none; `model` says what they mean.
    """

    width: int
    height: int
    matrix: NDArray[np.float64]
    distortion: NDArray[np.float64]
    model: str

    @classmethod
    def from_camera_info(cls, info: Any) -> Calibration | None:  # noqa: ANN401
        """Read a `sensor_msgs/msg/CameraInfo`; None for an uncalibrated camera (K is zero).

        Raises:
            MessageError: a camera matrix or a distortion that no camera has.

        """
        if info.k[0] == 0:
            return None
        matrix = np.array(info.k, float).reshape(3, 3)
        distortion = np.array(info.d, float)
        if not (np.isfinite(matrix).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0):
            msg = (
                f"the camera info's k is {matrix.ravel().tolist()}: it must be finite, with focal "
                "lengths above 0; calibrate the camera, or publish zeros if it is not"
            )
            raise MessageError(msg, "camera info")
        # K is the sensor's; the image is a window of it, binned (as in image_geometry).
        binning = np.array([max(info.binning_x, 1), max(info.binning_y, 1)])
        matrix[:2, 2] -= (info.roi.x_offset, info.roi.y_offset)
        matrix[:2] /= binning[:, None]
        return cls(
            (info.roi.width or info.width) // int(binning[0]),
            (info.roi.height or info.height) // int(binning[1]),
            matrix,
            distortion,
            _checked_model(info.distortion_model, distortion),
        )


def _checked_model(model: str, distortion: NDArray[np.float64]) -> str:
    # Cameras without distortion leave the model empty.
    name = model or "plumb_bob" if distortion.size == 0 else model
    if distortion.size not in _COEFFICIENTS.get(name, ()) or not np.isfinite(distortion).all():
        allowed = ", ".join(
            f"{known} with {' or '.join(map(str, counts))}"
            for known, counts in _COEFFICIENTS.items()
        )
        msg = (
            f"the camera info's distortion is {model!r} with the coefficients "
            f"{distortion.tolist()}: allowed are {allowed}; correct the camera's calibration file"
        )
        raise MessageError(msg, "camera info")
    return name
