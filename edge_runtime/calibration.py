"""What a camera info says about the pixels of the image that it comes with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import MessageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Numbers of coefficients by model, as sensor_msgs/distortion_models names them.
_COEFFICIENTS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}


@dataclass(frozen=True)
class Calibration:
    """The pinhole model of an image as it was published: cut out and binned.

    `width`, `height`: pixels of that image. `matrix`: (3, 3), K of that image. `distortion`:
    coefficients in OpenCV's order, which may be none; `model` says what they mean. `rotation`:
    (3, 3), R, which turns points into the rectified camera's axes; None where the image is
    rectified. `projection`: (3, 4), P of the rectified image, binned likewise; None without.
    """

    width: int
    height: int
    matrix: NDArray[np.float64]
    distortion: NDArray[np.float64]
    model: str
    rotation: NDArray[np.float64] | None = None
    projection: NDArray[np.float64] | None = None

    @classmethod
    def from_camera_info(cls, info: Any, *, rectified: bool = False) -> Calibration | None:  # noqa: ANN401
        """Read a `sensor_msgs/msg/CameraInfo`; None for an uncalibrated camera (no K, no P).

        The image is the raw one, which K and D describe, or the rectified one, whose camera is the
        left part of P, without distortion. Where only one of K and P is given, that one is taken.

        Raises:
            MessageError: a camera matrix or a distortion that no camera has.

        """
        raw = np.array(info.k, float).reshape(3, 3)
        whole = np.array(info.p, float).reshape(3, 4)
        of_p = whole[0, 0] != 0 and (rectified or raw[0, 0] == 0)
        matrix = _checked_matrix("p" if of_p else "k", whole[:, :3].copy() if of_p else raw)
        if matrix is None:
            return None
        if rectified or of_p:
            model, distortion = "plumb_bob", np.zeros(0)
        else:
            model, distortion = _checked_distortion(info.distortion_model, np.array(info.d, float))
        # K is the sensor's; the image is a window of it, binned (as in image_geometry).
        binning = np.array([max(info.binning_x, 1), max(info.binning_y, 1)])
        matrix[:2, 2] -= (info.roi.x_offset, info.roi.y_offset)
        matrix[:2] /= binning[:, None]
        projection = None
        if whole[0, 0] != 0 and np.isfinite(whole).all():
            projection = whole
            projection[:2, 2] -= (info.roi.x_offset, info.roi.y_offset)
            projection[:2] /= binning[:, None]
        turn = np.array(info.r, float).reshape(3, 3)
        turned = not (rectified or of_p) and np.isfinite(turn).all() and turn.any()
        return cls(
            (info.roi.width or info.width) // int(binning[0]),
            (info.roi.height or info.height) // int(binning[1]),
            matrix,
            distortion,
            model,
            turn if turned else None,
            projection,
        )


class CameraInfoReader:
    """Reads camera infos; one that says what the last one of its image said is not read again."""

    def __init__(self, *, rectified: bool = False) -> None:
        """Read for images that are `rectified`: their camera is P, not K and D."""
        self._rectified = rectified
        self._known: dict[str, tuple[object, Calibration | MessageError | None]] = {}

    def read(self, topic: str, info: Any) -> Calibration | MessageError | None:  # noqa: ANN401
        """Return the calibration of the image on `topic`, why it has none, or None.

        None: the camera is not calibrated.
        """
        content = (
            (info.width, info.height, info.binning_x, info.binning_y),
            (info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height),
            info.distortion_model,
            np.concatenate((info.d, info.k, info.r, info.p)).tobytes(),
        )
        if topic not in self._known or self._known[topic][0] != content:
            self._known[topic] = content, self._calibration(topic, info)
        return self._known[topic][1]

    def _calibration(self, topic: str, info: Any) -> Calibration | MessageError | None:  # noqa: ANN401
        try:
            return Calibration.from_camera_info(info, rectified=self._rectified)
        except MessageError as error:
            return MessageError(f"input {topic!r}: {error}", error.kind)


def _checked_matrix(name: str, matrix: NDArray[np.float64]) -> NDArray[np.float64] | None:
    if matrix[0, 0] == 0:
        return None
    if not (np.isfinite(matrix).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0):
        msg = (
            f"the camera info's {name} is {matrix.ravel().tolist()}: it must be finite, with focal "
            "lengths above 0; calibrate the camera, or publish zeros if it is not"
        )
        raise MessageError(msg, "camera info")
    return matrix


def _checked_distortion(
    model: str, distortion: NDArray[np.float64]
) -> tuple[str, NDArray[np.float64]]:
    counts = _COEFFICIENTS.get(model, ())
    if distortion.size not in counts and not distortion.any():
        # Drivers of cameras without distortion name any model, or none, with zeros or nothing.
        return "plumb_bob", np.zeros(0)
    # Some drivers fill up with zeros, as T265's, whose four become five.
    filled = [n for n in counts if n <= distortion.size and not distortion[n:].any()]
    if not filled or not np.isfinite(distortion).all():
        allowed = ", ".join(
            f"{known} with {' or '.join(map(str, numbers))}"
            for known, numbers in _COEFFICIENTS.items()
        )
        msg = (
            f"the camera info's distortion is {model!r} with the coefficients "
            f"{distortion.tolist()}: allowed are {allowed}, and zeros of any model; correct the "
            "camera's calibration file"
        )
        raise MessageError(msg, "camera info")
    return model, distortion[: max(filled)]
