"""What the network is taught: labels stay on their pixels, and maps decode to the keypoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch comes with the extra [compress]")

from edge_runtime.pixel_input import PixelInput
from edge_worlds.arm.dataset import ImageSource, NegativeSource, image_set
from edge_worlds.arm.model import DESK_ARM
from pose_fcn.estimator import IMAGE
from pose_fcn.expansion_clustering import expansion_clustering
from pose_fcn.overlay import draw_keypoints
from pose_fcn.training_images import (
    TrainingImages,
    network_input,
    random_view,
    target_maps,
    vary_colours,
)

if TYPE_CHECKING:
    from pathlib import Path

LINKS = [(k, k + 1) for k in range(7)]


class Dots:
    """One black picture with a white dot on each keypoint, as an image set."""

    def __init__(self) -> None:
        self.keypoints = np.array(
            [[[128 + 45 * np.cos(a), 128 + 45 * np.sin(a)] for a in np.arange(8) * np.pi / 4]],
            np.float32,
        )
        self.in_image = np.ones((1, 8), bool)
        rows, columns = np.mgrid[:256, :256]
        distance = np.hypot(
            columns - self.keypoints[0, :, 0, None, None],
            rows - self.keypoints[0, :, 1, None, None],
        )
        grey = np.exp(-(distance**2) / 8).sum(axis=0)
        self._bgr = np.repeat((255 * grey).astype(np.uint8)[..., None], 3, axis=2)

    def bgr(self, index: int) -> np.ndarray:
        assert index == 0
        return self._bgr


@pytest.mark.parametrize("side", [128, 192, 256])
def test_target_maps_decode_to_the_keypoints(side: int) -> None:
    rng = np.random.default_rng(side)
    keypoints = rng.uniform(16, side - 16, (8, 2)).astype(np.float32)
    keypoints[3] = np.nan
    maps = target_maps(keypoints, LINKS, side)
    assert maps.shape == (9, side // 2, side // 2)
    clusters = expansion_clustering(maps[:8], 0.5, 0.1)
    assert clusters.found.tolist() == [k != 3 for k in range(8)]
    decoded = (clusters.positions + 0.5) * 2 - 0.5
    assert decoded == pytest.approx(keypoints, abs=0.1, nan_ok=True)


def test_the_skeleton_map_runs_along_the_links() -> None:
    keypoints = np.full((8, 2), np.nan, np.float32)
    keypoints[:2] = (40, 60), (100, 60)
    skeleton = target_maps(keypoints, LINKS, 128)[-1]
    assert skeleton[30, 22:48].min() > 0.5
    assert max(skeleton[:26].max(), skeleton[34:].max()) < 0.01


@pytest.mark.parametrize("side", [128, 256])
def test_labels_move_with_the_picture(side: int) -> None:
    dots = Dots()
    for seed in range(20):
        view, keypoints = random_view(np.random.default_rng(seed), dots, 0, side)
        margin = 8
        inner = ((keypoints > margin) & (keypoints < side - margin)).all(axis=1)
        assert inner.any()
        for u, v in keypoints[inner]:
            column, row = round(float(u)), round(float(v))
            patch = view[row - 6 : row + 7, column - 6 : column + 7, 0].astype(float)
            rows, columns = np.mgrid[-6:7, -6:7]
            centre = np.array([(patch * columns).sum(), (patch * rows).sum()]) / patch.sum()
            assert centre + np.array([column, row]) == pytest.approx((u, v), abs=0.25)


def test_colours_vary_but_the_content_stays() -> None:
    dots = Dots()
    for seed in range(10):
        varied = vary_colours(np.random.default_rng(seed), dots.bgr(0))
        assert varied.shape == dots.bgr(0).shape
        assert not np.array_equal(varied, dots.bgr(0))
        assert np.corrcoef(varied.ravel(), dots.bgr(0).ravel())[0, 1] > 0.5


def test_overlay_draws_found_keypoints_where_they_are() -> None:
    picture = np.zeros((480, 640, 3), np.uint8)
    positions = np.full((8, 2), np.nan)
    positions[2] = (300, 200)
    drawn = draw_keypoints(picture, positions)
    rows, columns = np.nonzero(drawn.any(axis=2))
    assert (columns.mean(), rows.mean()) == pytest.approx((300, 200), abs=0.5)
    assert not picture.any()


def test_training_sees_pictures_as_the_node_does() -> None:
    pictures = list(np.random.default_rng(3).integers(0, 256, (3, 64, 96, 3), dtype=np.uint8))
    seen = network_input(pictures)
    expected = np.concatenate([PixelInput(IMAGE)(picture) for picture in pictures])
    np.testing.assert_allclose(seen.numpy(), expected, atol=1e-6)


def test_a_share_of_the_images_is_without_the_arm(tmp_path: Path) -> None:
    arm = image_set(ImageSource(DESK_ARM, 32, 0), 20, tmp_path)
    without = image_set(NegativeSource(DESK_ARM, 32, 0), 10, tmp_path)
    images = TrainingImages(arm, without, 0.3)

    numbers = images.draw(np.random.default_rng(0), 1000)

    negative = numbers >= 20
    assert negative.mean() == pytest.approx(0.3, abs=0.05)
    assert set(numbers.tolist()) == set(range(30))
    assert np.isnan(images.visible(29)).all()
    assert np.array_equal(images.bgr(29), without.bgr(9))
    assert np.array_equal(images.bgr(19), arm.bgr(19))
    assert not np.isnan(images.visible(19)).all()
    view, keypoints = random_view(np.random.default_rng(0), images, 25, 32)
    assert view.shape == (32, 32, 3)
    assert np.isnan(keypoints).all()
