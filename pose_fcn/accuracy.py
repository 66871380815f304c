"""How well keypoints agree with their labels: PCK, AUC and pixel errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIXEL_THRESHOLDS = (2.5, 5.0, 10.0)
AUC_RANGE = 20.0
"""Upper end of the thresholds that the AUC averages over, pixels."""

PRIMARY_METRIC = "pck@0.5"

DESCRIPTIONS = {
    PRIMARY_METRIC: "share of the keypoints in the picture that were found within half the length, "
    "in that picture, of the arm's reference link; 1 is all of them",
    **{
        f"pck@{threshold:g}px": "share of the keypoints in the picture that were found within "
        f"{threshold:g} pixels"
        for threshold in PIXEL_THRESHOLDS
    },
    "auc@20px": "mean of that share over all thresholds from 0 to 20 pixels",
    "mean_error_px": "mean distance from label to keypoint, pixels, of the keypoints found",
    "median_error_px": "median distance from label to keypoint, pixels, of the keypoints found",
    "found": "share of the keypoints in the picture that were reported, wherever",
    "false_found": "share of the keypoints not in the picture that were reported all the same; a "
    "higher min_score leaves more of them out",
    "false_alarms": "share of the pictures without the arm in which any keypoint was reported",
}
"""Of every metric of `pose_accuracy` and of `compress`, one line for those who read reports."""

LOWER_IS_BETTER = frozenset({"mean_error_px", "median_error_px", "false_found", "false_alarms"})


def keypoint_errors(
    predicted: NDArray[np.floating], labels: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Distances in pixels; infinite where the label exists and the keypoint was not found.

    Args:
        predicted: (..., 2), NaN where not found.
        labels: (..., 2), NaN where the keypoint is not in the picture.

    Returns:
        (...), NaN where the keypoint is not in the picture.
    """
    distance = np.linalg.norm(np.asarray(predicted, float) - np.asarray(labels, float), axis=-1)
    missed = np.isnan(predicted).any(axis=-1) & ~np.isnan(labels).any(axis=-1)
    return np.where(missed, np.inf, distance)


def pose_accuracy(
    predicted: NDArray[np.floating],
    labels: NDArray[np.floating],
    reference_lengths: NDArray[np.floating],
) -> dict[str, float]:
    """Measure n pictures with k keypoints each.

    A keypoint counts when its label lies in the picture; one that was not found is wrong at every
    threshold. Metrics that nothing was measured for are left out.

    The metrics are those of `DESCRIPTIONS`. `pck@0.5` is as PCKh does with the head (Andriluka et
    al. 2014); pictures without a reference length do not count in it.

    Args:
        predicted: (n, k, 2) pixels, NaN where not found.
        labels: (n, k, 2) pixels, NaN where the keypoint is not in the picture.
        reference_lengths: (n,) pixels, NaN where unknown.
    """
    errors = keypoint_errors(predicted, labels)
    present = ~np.isnan(errors)
    absent = ~present
    reported = ~np.isnan(predicted).any(axis=-1)
    metrics: dict[str, float] = {}
    scaled = errors / np.asarray(reference_lengths, float)[:, None]
    measurable = ~np.isnan(scaled)
    if measurable.any():
        metrics[PRIMARY_METRIC] = float((scaled[measurable] <= 0.5).mean())  # noqa: PLR2004
    if present.any():
        counted = errors[present]
        for threshold in PIXEL_THRESHOLDS:
            metrics[f"pck@{threshold:g}px"] = float((counted <= threshold).mean())
        metrics["auc@20px"] = float(np.clip(1 - counted / AUC_RANGE, 0, 1).mean())
        hits = counted[np.isfinite(counted)]
        if hits.size:
            metrics["mean_error_px"] = float(hits.mean())
            metrics["median_error_px"] = float(np.median(hits))
        metrics["found"] = float(reported[present].mean())
    if absent.any():
        metrics["false_found"] = float(reported[absent].mean())
    return metrics


def accuracy_curve(
    predicted: NDArray[np.floating], labels: NDArray[np.floating], points: int = 81
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of keypoints within a threshold, for `points` thresholds from 0 to 20 px."""
    errors = keypoint_errors(predicted, labels)
    counted = np.sort(errors[~np.isnan(errors)])
    thresholds = np.linspace(0, AUC_RANGE, points)
    shares = np.searchsorted(counted, thresholds, side="right") / max(1, counted.size)
    return thresholds, shares
