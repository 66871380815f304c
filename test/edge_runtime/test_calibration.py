from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_runtime.calibration import CameraInfoReader
from edge_runtime.errors import MessageError
from edge_runtime.frame import CameraFrame
from edge_runtime.interface import Input

if TYPE_CHECKING:
    from edge_runtime.calibration import Calibration

K = [600.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]
# The right camera of a rectified pair: a baseline stands beside its matrix.
P = [580.0, 0.0, 310.0, -58.0, 0.0, 580.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0]
NONE = [0.0] * 12


def camera_info(**changes: object) -> SimpleNamespace:
    window = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False)
    fields = {
        "width": 640,
        "height": 480,
        "k": K,
        "r": [0.0] * 9,
        "p": NONE,
        "d": [],
        "distortion_model": "plumb_bob",
        "binning_x": 0,
        "binning_y": 0,
        "roi": window,
    }
    return SimpleNamespace(**{**fields, **changes})


def calibration(
    info: SimpleNamespace, width: int = 640, height: int = 480, *, rectified: bool = False
) -> Calibration | None:
    frame = decoded(info, CameraInfoReader(rectified=rectified), width, height)
    for error in frame.unusable:
        raise error
    return frame.calibration.get("image")


def decoded(
    info: SimpleNamespace, reader: CameraInfoReader, width: int = 640, height: int = 480
) -> CameraFrame:
    message = SimpleNamespace(
        header=None,
        width=width,
        height=height,
        encoding="mono8",
        step=width,
        is_bigendian=0,
        data=bytes(width * height),
    )
    frame = CameraFrame(None, {"image": message}, camera_info={"image": reader.read("image", info)})
    frame.decode({"image": Input("image", "colour")})
    return frame


def test_a_camera_info_is_read_again_only_when_it_says_something_else() -> None:
    reader = CameraInfoReader()
    first, same, other, again = (
        decoded(camera_info(header=stamp, k=[focal, *K[1:]]), reader).calibration["image"]
        for stamp, focal in enumerate((600.0, 600.0, 700.0, 600.0))
    )
    assert same is first
    assert (other.matrix[0, 0], again.matrix[0, 0]) == (700.0, 600.0)


def test_the_matrix_is_that_of_the_binned_window() -> None:
    window = SimpleNamespace(x_offset=160, y_offset=120, width=320, height=240, do_rectify=False)
    binned = {"binning_x": 2, "binning_y": 4}
    for info, size, focal in [
        (camera_info(), (640, 480), (600, 500)),
        (camera_info(**binned), (320, 120), (300, 125)),
        (camera_info(roi=window), (320, 240), (600, 500)),
        (camera_info(roi=window, **binned), (160, 60), (300, 125)),
    ]:
        found = calibration(info, *size)
        assert found is not None
        # The sensor's centre is its principal point, and stays the picture's.
        expected = [[focal[0], 0, size[0] / 2], [0, focal[1], size[1] / 2], [0, 0, 1]]
        np.testing.assert_array_equal(found.matrix, expected)


def test_an_uncalibrated_camera_has_no_calibration() -> None:
    assert calibration(camera_info(k=[0.0] * 9, distortion_model="?"), 640, 480) is None


@pytest.mark.parametrize(
    ("k", "p", "rectified", "focal"),
    [
        (K, P, False, (600, 500)),
        (K, P, True, (580, 580)),
        (K, NONE, True, (600, 500)),
        ([0.0] * 9, P, False, (580, 580)),
        ([0.0] * 9, P, True, (580, 580)),
    ],
)
def test_the_camera_of_a_rectified_image_is_p(
    k: list[float], p: list[float], focal: tuple[float, float], *, rectified: bool
) -> None:
    info = camera_info(k=k, p=p, d=[0.1] * 5)
    found = calibration(info, rectified=rectified)
    assert found is not None
    assert (found.matrix[0, 0], found.matrix[1, 1]) == focal
    # Distortion belongs to K and the raw image.
    assert found.distortion.any() == (focal == (600, 500) and not rectified)


@pytest.mark.parametrize(
    ("model", "given", "kept"),
    [
        ("plumb_bob", [0.1] * 4, ("plumb_bob", 4)),
        ("plumb_bob", [0.1] * 5, ("plumb_bob", 5)),
        ("plumb_bob", [0.1] * 5 + [0.0] * 3, ("plumb_bob", 5)),
        ("rational_polynomial", [0.1] * 8, ("rational_polynomial", 8)),
        ("rational_polynomial", [0.1] * 12, ("rational_polynomial", 12)),
        ("rational_polynomial", [0.1] * 14, ("rational_polynomial", 14)),
        ("equidistant", [0.1] * 4, ("equidistant", 4)),
        ("equidistant", [0.1] * 4 + [0.0], ("equidistant", 4)),
        ("equidistant", [0.0] * 4, ("equidistant", 4)),
        *[
            (name, zeros, ("plumb_bob", 0))
            for name in ("", "equidistant", "rational_polynomial", "none")
            for zeros in ([], [0.0] * 5)
        ],
    ],
)
def test_distortions_as_drivers_write_them_are_taken(
    model: str, given: list[float], kept: tuple[str, int]
) -> None:
    found = calibration(camera_info(distortion_model=model, d=given))
    assert found is not None
    assert (found.model, found.distortion.size) == kept


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"distortion_model": "fisheye", "d": [0.1] * 4},
            ["'fisheye'", "equidistant with 4", "zeros of any model", "calibration file"],
        ),
        ({"distortion_model": "", "d": [0.1] * 5}, ["''", "plumb_bob with 0 or 4 or 5"]),
        ({"d": [0.1] * 3}, ["[0.1, 0.1, 0.1]", "plumb_bob with 0 or 4 or 5"]),
        ({"d": [math.nan] * 5}, ["nan", "allowed"]),
        ({"distortion_model": "rational_polynomial", "d": [0.1] * 5}, ["with 8 or 12"]),
        ({"distortion_model": "equidistant", "d": [0.1] * 5}, ["equidistant with 4"]),
        ({"k": [0.0] * 9, "p": [math.inf] * 12}, ["p is", "finite"]),
        ({"k": [600.0, *[0.0] * 8]}, ["600.0", "focal lengths above 0"]),
        ({"k": [math.nan] * 9}, ["nan", "finite"]),
        ({"width": 320}, ["320x480", "640x480", "of this stream"]),
    ],
)
def test_a_camera_info_that_contradicts_itself_or_the_image_is_refused_in_one_line(
    changes: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(MessageError) as caught:
        calibration(camera_info(**changes), 640, 480)
    assert caught.value.kind == "camera info"
    assert "\n" not in str(caught.value)
    for word in ["input 'image'", *words]:
        assert word in str(caught.value)


def test_a_pair_is_told_how_it_is_rectified() -> None:
    turn = [0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    info = camera_info(p=P, r=turn, binning_x=2, binning_y=2)
    raw = calibration(info, 320, 240)
    assert raw is not None
    assert raw.rotation is not None
    assert raw.projection is not None
    assert raw.rotation.ravel().tolist() == turn
    assert (-raw.projection[0, 3] / raw.projection[0, 0]) == pytest.approx(0.1)  # metres
    assert raw.projection[0, :3].tolist() == [290.0, 0.0, 155.0]
    rectified = calibration(info, 320, 240, rectified=True)
    assert rectified is not None
    assert rectified.rotation is None
    single = calibration(camera_info(r=[math.nan] * 9))
    assert single is not None
    assert single.rotation is None
    assert single.projection is None
