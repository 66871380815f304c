from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

pytest.importorskip("numba", reason="numba comes with the extra [slam]")

from recordings import CAMERA, SIZE

from compressed_slam.frame import Frame
from compressed_slam.oracle import Oracle
from compressed_slam.projection import pixel_grid

if TYPE_CHECKING:
    from compressed_slam.matching import Refinement

WIDTH, HEIGHT = SIZE
HOME = np.array([0, 0, 0, 0, 0, 0, 1.0])
ASIDE = np.array([0.5, 0, 0, 0, 0, 0, 1.0])  # camera to world: half a metre to the right
LIT = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)


def wall(metres: float) -> np.ndarray:
    return np.full((HEIGHT, WIDTH), metres)


def match(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    picture: np.ndarray = LIT,
    **spoilt: float,
) -> Refinement:
    """What the oracle says of the first camera's pixels in the second one's picture."""
    oracle = Oracle([first, second].__getitem__, CAMERA, **spoilt)
    views = [oracle.view(Frame(0, LIT)), oracle.view(Frame(1, picture))]
    matcher = oracle.matcher(lasting=True)
    matcher.add([0], views[:1], views[1:])
    grid = pixel_grid(HEIGHT // 8, WIDTH // 8)[None]
    return matcher.refine(grid, grid)


def test_the_flow_is_that_of_pose_and_depth() -> None:
    found = match((HOME, wall(2.0)), (ASIDE, wall(2.0)))
    flow = float(-CAMERA.matrix[0, 0] / 8 * 0.5 / 2.0)
    sure = found.weight[0, ..., 0] > 0
    assert torch.allclose(found.delta[0][sure], torch.tensor([flow, 0.0]), atol=1e-4)
    # What has left the picture on its left side is not seen.
    left = torch.arange(WIDTH // 8) + flow < 0
    assert torch.equal(sure, ~left.expand_as(sure))
    assert not found.delta[0][~sure].any()


def test_what_is_hidden_unseen_or_dark_has_no_weight() -> None:
    plate = wall(4.0)
    plate[:, : WIDTH // 2] = 1.0
    hidden = match((HOME, wall(4.0)), (HOME, plate)).weight[0, ..., 0]
    assert not hidden[:, : WIDTH // 16].any()
    assert hidden[:, WIDTH // 16 :].all()

    unseen = wall(4.0)
    unseen[: HEIGHT // 2] = np.nan
    known = match((HOME, unseen), (HOME, wall(4.0))).weight[0, ..., 0]
    assert not known[: HEIGHT // 16].any()
    assert known[HEIGHT // 16 :].all()

    assert not match((HOME, wall(4.0)), (HOME, wall(4.0)), np.zeros_like(LIT)).weight.any()


def test_matches_are_spoilt_as_asked() -> None:
    still = (HOME, wall(4.0))
    assert match(still, still, noise=0.5).delta.std() == pytest.approx(0.5, rel=0.1)
    outliers = match(still, still, outliers=0.2).delta.abs().amax(-1) > 0.01
    assert outliers.float().mean() == pytest.approx(0.2, abs=0.06)
