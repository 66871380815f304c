from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from edge_runtime.calibration import Calibration
from pose_fcn.lifting import lift_keypoints

MATRIX = np.array([[400.0, 0, 310], [0, 410, 250], [0, 0, 1]])
POINTS = np.array([[0.2, -0.1, 1.0], [-0.3, 0.25, 1.4], [0.0, 0.0, 0.8]])


@pytest.mark.parametrize(
    ("model", "distortion"),
    [
        ("plumb_bob", []),
        ("plumb_bob", [0.12, -0.2, 0.001, -0.002, 0.05]),
        ("rational_polynomial", [0.12, -0.2, 0.001, -0.002, 0.05, 0.1, -0.1, 0.02] + [1e-3] * 4),
        ("equidistant", [0.02, -0.01, 0.003, 0.0]),
    ],
)
def test_points_come_back_from_their_pixels_and_depth(model: str, distortion: list[float]) -> None:
    coefficients = np.array(distortion)
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    pixels = project(POINTS[:, None], np.zeros(3), np.zeros(3), MATRIX, coefficients)[0][:, 0]
    depth = np.full((480, 640), np.nan, np.float32)
    for (u, v), (_, _, z) in zip(np.rint(pixels).astype(int), POINTS, strict=True):
        depth[v - 3 : v + 4, u - 3 : u + 4] = z
        depth[v, u] = np.nan  # a hole where the keypoint is
        depth[v - 1, u] = 0.1  # and a speckle beside it
    lifted = lift_keypoints(pixels.astype(np.float32), depth, MATRIX, coefficients, model)
    assert lifted == pytest.approx(POINTS, abs=1e-3)


def test_without_depth_or_position_there_is_no_point() -> None:
    positions = np.array([[10, 10], [np.nan, np.nan], [-5, 3], [900, 3]], np.float32)
    depth = np.full((480, 640), np.nan, np.float32)
    assert np.isnan(lift_keypoints(positions, depth, MATRIX, np.zeros(5))).all()


def test_where_a_fisheye_has_no_ray_there_is_no_point() -> None:
    positions = np.array([[310, 250], [1, 1]], np.float32)
    depth = np.ones((480, 640), np.float32)
    coefficients = np.array([0.1, -0.5, 0.3, -0.1])
    lifted = lift_keypoints(positions, depth, MATRIX, coefficients, "equidistant")
    np.testing.assert_array_equal(np.isnan(lifted), [[False] * 3, [True] * 3])


@pytest.mark.parametrize("window", [(0, 0, 0, 0), (160, 120, 320, 240)])
def test_the_centre_of_a_binned_window_lies_on_the_optical_axis(
    window: tuple[int, int, int, int],
) -> None:
    left, top, width, height = window
    info = SimpleNamespace(
        width=640,
        height=480,
        r=[0.0] * 9,
        k=[600.0, 0, 320, 0, 600, 240, 0, 0, 1],
        p=[0.0] * 12,
        d=[],
        distortion_model="",
        binning_x=2,
        binning_y=2,
        roi=SimpleNamespace(x_offset=left, y_offset=top, width=width, height=height),
    )
    camera = Calibration.from_camera_info(info)
    assert camera is not None
    centre = np.array([[camera.width / 2, camera.height / 2]], np.float32)
    depth = np.full((camera.height, camera.width), 1.5, np.float32)
    lifted = lift_keypoints(centre, depth, camera.matrix, camera.distortion, camera.model)
    np.testing.assert_allclose(lifted, [[0, 0, 1.5]], atol=1e-6)
