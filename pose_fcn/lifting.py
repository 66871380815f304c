"""Keypoints in space: pixels, depth and the camera's calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HALF_WINDOW = 2
_FLATTEST_RAY = 1e3


def lift_keypoints(
    positions: NDArray[np.float32],
    depth: NDArray[np.float32],
    matrix: NDArray[np.float64],
    distortion: NDArray[np.float64],
    model: str = "plumb_bob",
) -> NDArray[np.float32]:
    """Place keypoints on the surface that the depth camera sees at their pixels.

    The depth of a keypoint is the median of the valid pixels in the 5x5 window about it, so that
    a hole or a speckle does not move it. A keypoint inside a link comes out on the link's skin.

    Args:
        positions: (k, 2) u v pixels of the colour image, NaN where not found.
        depth: (h, w) metres along the optical axis, registered to the colour image, NaN where
            unseen.
        matrix: (3, 3) camera matrix K of the colour image.
        distortion: coefficients as in sensor_msgs/CameraInfo, or none.
        model: sensor_msgs/CameraInfo's distortion model; "equidistant" is OpenCV's fisheye.

    Returns:
        (k, 3) metres in the optical frame; NaN where not found, outside, without valid depth, or
        where the lens does not reach.
    """
    points = np.full((len(positions), 3), np.nan, np.float32)
    height, width = depth.shape
    with np.errstate(invalid="ignore"):
        inside = ((positions > -0.5) & (positions < np.array([width, height]) - 0.5)).all(axis=1)  # noqa: PLR2004
    index = np.flatnonzero(inside)
    if index.size == 0:
        return points
    centre = np.rint(positions[index]).astype(int)
    reach = np.arange(-_HALF_WINDOW, _HALF_WINDOW + 1)
    rows = np.clip(centre[:, 1, None, None] + reach[:, None], 0, height - 1)
    columns = np.clip(centre[:, 0, None, None] + reach[None, :], 0, width - 1)
    window = np.sort(depth[rows, columns].reshape(len(index), -1), axis=1)  # NaN goes last
    valid = np.count_nonzero(~np.isnan(window), axis=1)
    median = window[np.arange(len(index)), np.maximum(valid - 1, 0) // 2]
    pixels = positions[index, None].astype(np.float64)
    undistort = cv2.fisheye.undistortPoints if model == "equidistant" else cv2.undistortPoints
    rays = undistort(pixels, matrix, distortion)
    # Where a fisheye's model has no inverse, OpenCV gives rays far outside any picture.
    rays[np.abs(rays) > _FLATTEST_RAY] = np.nan
    points[index, :2] = rays[:, 0] * median[:, None]
    points[index, 2] = median
    points[np.isnan(points).any(axis=1)] = np.nan
    return points
