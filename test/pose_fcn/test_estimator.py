from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_runtime.latency import Stopwatch
from pose_fcn.estimator import PoseEstimator, PoseSettings

SETTINGS = PoseSettings(
    long_side=256, seed_threshold=0.5, grow_threshold=0.2, links=((0, 1),), reference_link=(0, 1)
)
NAMES = ["red", "green", "blue"]


def colour_network(inputs: dict[str, Any]) -> dict[str, Any]:
    """A network in one line: map k is colour channel k at half the resolution."""
    image = inputs["image"]
    assert image.shape[2] % 32 == 0
    assert image.shape[3] % 32 == 0
    batch, channels, height, width = image.shape
    maps = image.reshape(batch, channels, height // 2, 2, width // 2, 2).mean((3, 5))
    return {"maps": np.concatenate([maps, maps[:, :1]], axis=1)}


@pytest.mark.parametrize(
    ("height", "width"), [(480, 640), (640, 480), (1080, 1920), (120, 160), (100, 700), (256, 256)]
)
def test_positions_are_in_the_pixels_of_the_given_picture(height: int, width: int) -> None:
    estimator = PoseEstimator(colour_network, SETTINGS, NAMES)
    picture = np.zeros((height, width, 3), np.uint8)
    reach = max(height, width) // 32
    centres = {0: (width // 4, height // 3), 2: (width - reach - 1, height - reach - 1)}
    for channel, (u, v) in centres.items():  # blue is channel 0 of BGR, keypoint 2 of RGB
        picture[v - reach : v + reach + 1, u - reach : u + reach + 1, 2 - channel] = 255
    keypoints = estimator.estimate(picture)
    assert keypoints.found.tolist() == [True, False, True]
    tolerance = max(height, width) / 256
    for channel, centre in centres.items():
        assert keypoints.positions[channel] == pytest.approx(centre, abs=tolerance)
    assert np.isnan(keypoints.positions[1]).all()


def test_the_picture_before_leaves_nothing_in_the_padding() -> None:
    estimator = PoseEstimator(colour_network, SETTINGS, NAMES)
    estimator.estimate(np.full((200, 256, 3), 255, np.uint8))
    assert not estimator.estimate(np.zeros((199, 256, 3), np.uint8)).found.any()


def test_every_stage_is_timed() -> None:
    stopwatch = Stopwatch()
    PoseEstimator(colour_network, SETTINGS, NAMES).estimate(
        np.zeros((64, 64, 3), np.uint8), stopwatch
    )
    assert list(stopwatch.stages) == ["preprocess", "engine", "clustering"]
