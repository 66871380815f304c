"""What the score of a keypoint is worth: right and false keypoints by the parameter `min_score`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

from edge_compression.recipe import load_recipe
from edge_runtime.engine import open_engine
from edge_worlds.textures import backdrop, photograph
from pose_fcn.accuracy import PRIMARY_METRIC, pose_accuracy
from pose_fcn.data import PoseData
from pose_fcn.estimator import PoseEstimator
from pose_fcn.skill import PoseSkill

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.bundle import Bundle

PICTURES_WITHOUT_ARM = 500
MIN_SCORES = (0.05, 0.1, 0.2, 0.3, 0.5)


def score_table(
    bundle: Bundle, recipe: Path, photographs: Path | None
) -> dict[str, dict[str, float]]:
    """Evaluate the bundle's int8 engine with several `min_score`.

    Args:
        bundle: of the desk arm.
        recipe: whose held-out images are taken.
        photographs: folder of real photographs without an arm, if there is one; every fourth is
            taken, as neighbours in a film are alike.

    Returns:
        min_score -> accuracy and share of found keypoints on the recipe's held-out images; of
        pictures without any arm the share of keypoints that are reported, and the share of pictures
        in which any is.
    """
    engine = open_engine(bundle, "cpu", precision="int8")
    estimator = PoseEstimator.from_bundle(bundle, engine.run)
    data = cast("PoseData", load_recipe(recipe).data(PoseData))
    images, labels, lengths = PoseSkill().labelled(data, "held_out")
    positions, scores = _estimates(estimator, (images.bgr(k) for k in range(len(images))))
    drawn = (_without_arm(k, data.size) for k in range(PICTURES_WITHOUT_ARM))
    without = {"drawn": _estimates(estimator, drawn)[1]}
    if photographs is not None:
        files = sorted(photographs.iterdir())[::4]
        real = (np.asarray(cv2.imread(str(file)), np.uint8) for file in files)
        without[f"{len(files)} photographs"] = _estimates(estimator, real)[1]
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
            PRIMARY_METRIC: accuracy[PRIMARY_METRIC],
            "found": accuracy["found"],
        }
        for kind, false_scores in without.items():
            reported = false_scores >= least
            rows[name][f"{kind}: keypoints"] = float(reported.mean())
            rows[name][f"{kind}: pictures with any"] = float(reported.any(axis=1).mean())
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
