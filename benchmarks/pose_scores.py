"""What the score of a keypoint is worth: right and false keypoints by the parameter `min_score`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from edge_compression.recipe import load_recipe
from edge_runtime.engine import open_engine
from edge_worlds.textures import backdrop, photograph
from pose_fcn.accuracy import HEADLINE, pose_accuracy
from pose_fcn.estimator import PoseEstimator
from pose_fcn.skill import PoseData, PoseSkill

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.bundle import Bundle

PICTURES_WITHOUT_ARM = 500
MIN_SCORES = (0.05, 0.1, 0.2, 0.3, 0.5)


def score_table(bundle: Bundle, recipe: Path) -> dict[str, dict[str, float]]:
    """Judge the bundle's int8 engine with several `min_score`.

    Returns:
        min_score -> accuracy and share of found keypoints on the recipe's held-out images, and
        the share of keypoints that are reported in pictures without any arm.
    """
    engine = open_engine(bundle, "cpu", precision="int8")
    estimator = PoseEstimator.from_bundle(bundle, engine.run)
    data = cast("PoseData", load_recipe(recipe).data(PoseData))
    images, labels, lengths = PoseSkill().labelled(data, "held_out")
    positions, scores = _estimates(estimator, (images.bgr(k) for k in range(len(images))))
    pictures = (_without_arm(k, data.size) for k in range(PICTURES_WITHOUT_ARM))
    _, false_scores = _estimates(estimator, pictures)
    own = estimator.settings.seed_threshold
    rows = {}
    for name, least in {
        f"{own:g} (the bundle's own)": 0.0,
        **{f"{s:g}": s for s in MIN_SCORES},
    }.items():
        accuracy = pose_accuracy(
            np.where(scores[..., None] >= least, positions, np.nan), labels, lengths
        )
        rows[name] = {
            HEADLINE: accuracy[HEADLINE],
            "found": accuracy["found"],
            "false alarms": float((false_scores >= least).mean()),
        }
    return rows


def _estimates(
    estimator: PoseEstimator, pictures: Iterable[NDArray[np.uint8]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return positions (n, 8, 2) pixels, and scores (n, 8), NaN where nothing was found."""
    found = [estimator.estimate(picture) for picture in pictures]
    scores = [
        np.where(keypoints.found, keypoints.scores, np.float32(np.nan)) for keypoints in found
    ]
    return np.stack([keypoints.positions for keypoints in found]), np.stack(scores)


def _without_arm(number: int, size: int) -> NDArray[Any]:
    """Draw what stands behind the arm in training images, (size, size, 3) uint8 BGR."""
    rng = np.random.default_rng(number)
    return photograph(rng, backdrop(rng, size, size))
