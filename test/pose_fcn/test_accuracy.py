from __future__ import annotations

import numpy as np
import pytest

from pose_fcn.accuracy import accuracy_curve, pose_accuracy

NAN = np.nan
LABELS = np.array([[[10, 10], [50, 50], [NAN, NAN]], [[0, 0], [100, 0], [30, 30]]])


def test_metrics_of_a_case_counted_by_hand() -> None:
    predicted = np.array([[[13, 14], [50, 50], [7, 7]], [[0, 12], [NAN, NAN], [30, 31]]])
    # Distances: 5, 0, (absent but reported), 12, missed, 1.
    metrics = pose_accuracy(predicted, LABELS, np.array([8.0, 30.0]))
    assert metrics["pck@0.5"] == pytest.approx(3 / 5)  # 5 > 4; 12 and 1 <= 15
    assert metrics["pck@2.5px"] == pytest.approx(2 / 5)
    assert metrics["pck@5px"] == pytest.approx(3 / 5)
    assert metrics["pck@10px"] == pytest.approx(3 / 5)
    assert metrics["auc@20px"] == pytest.approx((0.75 + 1 + 0.4 + 0 + 0.95) / 5)
    assert metrics["mean_error_px"] == pytest.approx(18 / 4)
    assert metrics["median_error_px"] == pytest.approx(3)
    assert metrics["found"] == pytest.approx(4 / 5)
    assert metrics["false_found"] == pytest.approx(1)


def test_pictures_without_a_reference_length_count_in_pixels_only() -> None:
    metrics = pose_accuracy(LABELS, LABELS, np.array([NAN, NAN]))
    assert "pck@0.5" not in metrics
    assert metrics["auc@20px"] == 1


def test_nothing_labelled_gives_no_accuracy() -> None:
    nowhere = np.full((2, 3, 2), NAN)
    assert pose_accuracy(LABELS, nowhere, np.ones(2)) == {"false_found": pytest.approx(5 / 6)}


def test_auc_is_the_area_under_the_curve() -> None:
    rng = np.random.default_rng(0)
    labels = rng.uniform(0, 200, (50, 8, 2))
    predicted = labels + rng.normal(0, 6, labels.shape)
    predicted[rng.random((50, 8)) < 0.1] = NAN
    thresholds, shares = accuracy_curve(predicted, labels, points=20001)
    area = np.trapezoid(shares, thresholds) / 20 if hasattr(np, "trapezoid") else None
    metrics = pose_accuracy(predicted, labels, np.full(50, 20.0))
    assert metrics["auc@20px"] == pytest.approx(area or float(shares.mean()), abs=1e-3)
    assert metrics["pck@0.5"] == metrics["pck@10px"]
