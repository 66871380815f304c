"""Pictures are what a pinhole camera of their own matrix would see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from compressed_slam.undistortion import FRAMINGS, Framing, Rectifier, stereo_rectifiers
from edge_runtime.calibration import Calibration
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MATRIX = np.array([[517.3, 0, 318.6], [0, 516.5, 255.3], [0, 0, 1]])
DISTORTIONS = {
    "plumb_bob": [0.2624, -0.9531, -0.0054, 0.0026, 1.1633],
    "rational_polynomial": [0.3, -0.05, 0.001, -0.002, 0.01, 0.55, -0.04, 0.02],
    "equidistant": [0.02, -0.01, 0.003, 0.001],
}


def camera(model: str, *, distorted: bool = True) -> Calibration:
    coefficients = np.array(DISTORTIONS[model])
    return Calibration(640, 480, MATRIX, coefficients * distorted, model)


def projected(points: NDArray[Any], calibration: Calibration) -> NDArray[Any]:
    """Pixels (n, 2) where the camera sees points (n, 3) of its optical frame."""
    project = cv2.fisheye.projectPoints if calibration.model == "equidistant" else cv2.projectPoints
    still = np.zeros(3)
    pixels: NDArray[Any] = project(
        points[:, None], still, still, calibration.matrix, calibration.distortion
    )[0][:, 0]
    return pixels


def gradient(calibration: Calibration) -> NDArray[Any]:
    """An image whose depth values are its own pixels: x + 1000 y."""
    x, y = np.meshgrid(np.arange(calibration.width), np.arange(calibration.height))
    return (x + 1000 * y).astype(np.float32)


def dot(pixel: NDArray[Any], calibration: Calibration) -> NDArray[Any]:
    """A soft white spot at a pixel, whose place can be read off to a fraction of it."""
    x, y = np.meshgrid(np.arange(calibration.width), np.arange(calibration.height))
    spot = np.exp(-((x - pixel[0]) ** 2 + (y - pixel[1]) ** 2) / (2 * 3.0**2))
    return np.repeat((255 * spot).astype(np.uint8)[..., None], 3, axis=2)


def centre(picture: NDArray[Any]) -> NDArray[Any]:
    weight = picture[..., 0].astype(float)
    y, x = np.indices(weight.shape)
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


POINTS = np.array([[0.1, -0.05, 1.0], [-0.5, 0.3, 1.2], [0.6, 0.5, 1.7], [-0.3, -0.4, 1.5]])


@pytest.mark.parametrize("preset", FRAMINGS)
@pytest.mark.parametrize("model", DISTORTIONS)
@pytest.mark.parametrize("distorted", [True, False])
def test_points_are_seen_where_the_new_matrix_projects_them(
    model: str, preset: str, *, distorted: bool
) -> None:
    source = camera(model, distorted=distorted)
    rectifier = Rectifier(source, FRAMINGS[preset](source))
    assert rectifier.camera.distortion.size == 0
    fx, fy, cx, cy = rectifier.intrinsics
    for point, pixel in zip(POINTS, projected(POINTS, source), strict=True):
        picture = rectifier.image(dot(pixel, source))
        assert picture.shape == (rectifier.camera.height, rectifier.camera.width, 3)
        expected = point[:2] / point[2] * (fx, fy) + (cx, cy)
        assert centre(picture) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("distorted", [True, False])
@pytest.mark.parametrize("preset", FRAMINGS)
def test_depth_is_that_of_the_nearest_pixel(preset: str, *, distorted: bool) -> None:
    source = camera("plumb_bob", distorted=distorted)
    rectifier = Rectifier(source, FRAMINGS[preset](source))
    depth = rectifier.depth(gradient(source))
    assert depth.dtype == np.float32
    y, x = np.indices(depth.shape)
    rays = (
        np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
        @ np.linalg.inv(rectifier.camera.matrix).T
    )
    pixels = projected(rays, source).reshape(*depth.shape, 2)
    found = np.stack([depth % 1000, depth // 1000], axis=-1)
    seen = ~np.isnan(depth)
    # Half a pixel is the nearest; OpenCV's maps hold 32nds.
    assert np.abs(found - pixels)[seen].max() < 0.54
    inside = ((pixels > 0.6) & (pixels < np.array([638.4, 478.4]))).all(axis=-1)
    assert seen[inside].all()
    outside = ((pixels < -0.6) | (pixels > np.array([639.6, 479.6]))).any(axis=-1)
    assert not seen[outside].any()


def test_holes_in_depth_stay_holes_and_spread_to_nobody() -> None:
    source = camera("plumb_bob")
    rectifier = Rectifier(source, Framing.of_size(640, 480))
    depth = np.full((480, 640), 2.0, np.float32)
    depth[::7] = np.nan
    picture = rectifier.depth(depth)[40:-40, 40:-40]
    assert set(np.unique(picture[~np.isnan(picture)])) == {2.0}
    assert np.isnan(picture).mean() == pytest.approx(1 / 7, abs=0.01)


def test_a_camera_without_distortion_is_only_scaled() -> None:
    source = camera("plumb_bob", distorted=False)
    bgr = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    same = Rectifier(source, Framing.of_size(640, 480))
    assert np.shares_memory(same.image(bgr), bgr)
    np.testing.assert_array_equal(same.intrinsics, MATRIX[[0, 1, 0, 1], [0, 1, 2, 2]])
    half = Rectifier(source, Framing.of_size(320, 240))
    np.testing.assert_array_equal(half.image(bgr), cv2.resize(bgr, (320, 240)))
    # What a camera info says of images that are rectified already.
    rectified = Rectifier(source, Framing.of_size(640, 480), np.eye(3), MATRIX.copy())
    assert np.shares_memory(rectified.image(bgr), bgr)


def test_the_presets_have_the_published_sizes() -> None:
    tum = camera("plumb_bob")
    assert FRAMINGS["tum"](tum) == Framing((320, 240), (352, 256), (16, 8))
    assert FRAMINGS["euroc"](tum).size == (512, 320)
    eth3d = Calibration(739, 458, MATRIX, np.zeros(0), "plumb_bob")
    assert FRAMINGS["eth3d"](eth3d) == Framing((560, 344), (563, 349), (0, 0))
    black = Rectifier(tum, FRAMINGS["tum"](tum)).image(np.full((480, 640, 3), 9, np.uint8)) == 0
    assert not black.any()


# EuRoC's published calibration: T_BS, focal lengths and principal point, distortion.
LEFT = (
    (
        (0.0148655429818, -0.999880929698, 0.00414029679422, -0.0216401454975),
        (0.999557249008, 0.0149672133247, 0.025715529948, -0.064676986768),
        (-0.0257744366974, 0.00375618835797, 0.999660727178, 0.00981073058949),
        (0.0, 0.0, 0.0, 1.0),
    ),
    (458.654, 457.296, 367.215, 248.375),
    (-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05),
)
RIGHT = (
    (
        (0.0125552670891, -0.999755099723, 0.0182237714554, -0.0198435579556),
        (0.999598781151, 0.0130119051815, 0.0251588363115, 0.0453689425024),
        (-0.0253898008918, 0.0179005838253, 0.999517347078, 0.00786212447038),
        (0.0, 0.0, 0.0, 1.0),
    ),
    (457.587, 456.134, 379.999, 255.238),
    (-0.28368365, 0.07451284, -0.00010473, -3.55590700e-05),
)
FROM_LEFT = np.linalg.inv(RIGHT[0]) @ LEFT[0]


def of_euroc(numbers: Sequence[float], coefficients: Sequence[float], model: str) -> Calibration:
    fx, fy, cx, cy = numbers
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    return Calibration(752, 480, matrix, np.array(coefficients), model)


@pytest.mark.parametrize("model", ["plumb_bob", "equidistant"])
def test_a_point_lies_on_the_same_row_of_both_pictures(model: str) -> None:
    coefficients = DISTORTIONS["equidistant"]
    left, right = (
        of_euroc(numbers, own if model == "plumb_bob" else coefficients, model)
        for _, numbers, own in (LEFT, RIGHT)
    )
    baseline = np.linalg.norm(FROM_LEFT[:3, 3])
    first, second = stereo_rectifiers(left, right, FROM_LEFT, Framing.of_size(512, 320))
    np.testing.assert_array_equal(first.intrinsics, second.intrinsics)
    fx, fy, cx, cy = first.intrinsics
    points = np.array([[0.3, -0.1, 1.5], [-0.3, 0.2, 1.5], [0.0, 0.0, 0.9]])
    theirs = points @ FROM_LEFT[:3, :3].T + FROM_LEFT[:3, 3]
    for point, ours, other in zip(
        points, projected(points, left), projected(theirs, right), strict=True
    ):
        x, y, z = first.rotation @ point
        disparity = fx * baseline / z
        assert centre(first.image(dot(ours, left))) == pytest.approx(
            (fx * x / z + cx, fy * y / z + cy), abs=0.1
        )
        assert centre(second.image(dot(other, right))) == pytest.approx(
            (fx * x / z + cx - disparity, fy * y / z + cy), abs=0.1
        )
    for rectifier in (first, second):
        black = rectifier.image(np.full((480, 752, 3), 9, np.uint8)) == 0
        assert black.mean() < (0.01 if model == "equidistant" else 1e-9)


def test_the_turn_of_eurocs_left_camera_is_the_published_one() -> None:
    left, right = (of_euroc(*camera[1:], "plumb_bob") for camera in (LEFT, RIGHT))
    first, _ = stereo_rectifiers(left, right, FROM_LEFT, Framing.of_size(512, 320))
    published = [0.999966347530033, -0.001422739138722922, 0.008079580483432283]
    assert first.rotation[0] == pytest.approx(published, abs=1e-8)
    with pytest.raises(SettingError, match=r"turned .* have no depth"):
        first.depth(np.ones((480, 752), np.float32))


def test_refusals_name_what_is_allowed() -> None:
    unknown = Calibration(640, 480, MATRIX, np.zeros(5), "thin_prism")
    view = Framing.of_size(320, 240)
    with pytest.raises(SettingError, match=r"'thin_prism': known are plumb_bob, rational_poly"):
        Rectifier(unknown, view)
    with pytest.raises(SettingError, match=r"322x240 is not possible: .* multiples of 8"):
        Framing.of_size(322, 240)
    with pytest.raises(SettingError, match="at least 128"):
        Framing.of_size(160, 120)
    source = camera("plumb_bob")
    with pytest.raises(SettingError, match="is 320x240, but its camera's calibration is for 640x"):
        Rectifier(source, view).image(np.zeros((240, 320, 3), np.uint8))
    with pytest.raises(SettingError, match="models plumb_bob and equidistant"):
        stereo_rectifiers(source, camera("equidistant"), FROM_LEFT, view)
    with pytest.raises(SettingError, match="mainly along -x; check which is which"):
        stereo_rectifiers(source, source, np.linalg.inv(FROM_LEFT), view)
