"""ATE and RPE against the program evo, and against what is known without it."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from compressed_slam.evaluation import absolute_error, relative_error
from edge_runtime.errors import SettingError
from edge_runtime.trajectory import Trajectory, write_trajectory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressed_slam.evaluation import Alignment, DeltaUnit, Statistics

FRAME = 33_333_333


def walk(count: int = 150, seed: int = 0) -> Trajectory:
    rng = np.random.default_rng(seed)
    steps = rng.normal((0.02, 0.0, 0.01), 0.02, (count, 3))
    turns = np.array([0.0, 0, 0, 1]) + rng.normal(0, 0.1, (count, 4))
    return Trajectory(
        1_305_031_102_175_304_123 + FRAME * np.arange(count),
        np.concatenate([steps.cumsum(axis=0), turns], axis=1),
    )


def moved(
    trajectory: Trajectory, rotation: NDArray[np.float64], shift: NDArray[np.float64], scale: float
) -> Trajectory:
    matrices = trajectory.matrices()
    matrices[:, :3, :3] = rotation @ matrices[:, :3, :3]
    matrices[:, :3, 3] = scale * matrices[:, :3, 3] @ rotation.T + shift
    return Trajectory.from_matrices(trajectory.stamps, matrices)


def estimate_of(truth: Trajectory) -> Trajectory:
    """Every frame but the first ten, late by 3 ms, in another frame and scale, with noise."""
    rng = np.random.default_rng(1)
    rotation = cv2.Rodrigues(np.array([0.3, -1.2, 2.0]))[0]
    other = moved(truth[10:], rotation, np.array([1.0, -2, 3]), 0.4)
    noise = rng.normal(0, 0.004, other.poses.shape)
    return Trajectory(other.stamps + 3_000_000, other.poses + noise)


def evo(
    folder: Path, program: str, reference: Trajectory, estimate: Trajectory, *options: str
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """Run the program and return its errors and statistics; evo is GPL and never imported."""
    beside = Path(sys.executable).parent
    command = shutil.which(program) or shutil.which(program, path=str(beside))
    if command is None:
        pytest.skip(f"no {program} on PATH or in {beside}: `pip install evo` brings it")
    write_trajectory(folder / "reference.txt", reference)
    write_trajectory(folder / "estimate.txt", estimate)
    words = ["tum", "reference.txt", "estimate.txt", *options, "--save_results", "results.zip"]
    # Its settings are the user's: a home of its own has the defaults.
    environment = {**os.environ, "HOME": str(folder), "PYTHONPATH": ""}
    done = subprocess.run(
        [command, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(folder / "results.zip") as results:
        errors = np.load(io.BytesIO(results.read("error_array.npy")))
        return errors, json.loads(results.read("stats.json"))


def assert_equal(
    ours: tuple[NDArray[np.float64], Statistics],
    theirs: tuple[NDArray[np.float64], dict[str, float]],
) -> None:
    np.testing.assert_allclose(ours[0], theirs[0], rtol=0, atol=1e-9)
    assert asdict(ours[1]) == pytest.approx(theirs[1], abs=1e-6)


@pytest.mark.parametrize(
    ("alignment", "options"), [("none", ()), ("se3", ("-a",)), ("sim3", ("-as",))]
)
def test_ate_is_that_of_evo(tmp_path: Path, alignment: Alignment, options: tuple[str, ...]) -> None:
    truth = walk()
    estimate = estimate_of(truth)
    result = absolute_error(truth, estimate, alignment)
    assert result.pairs == 140
    theirs = evo(tmp_path, "evo_ape", truth, estimate, *options)
    assert_equal((result.errors, result.translation), theirs)


@pytest.mark.parametrize(
    ("delta", "unit", "alignment", "part"),
    [
        (1, "frames", "none", "angle_deg"),
        (7, "frames", "sim3", "trans_part"),
        (0.3, "metres", "sim3", "trans_part"),
        (0.1, "metres", "none", "angle_deg"),
    ],
)
def test_rpe_is_that_of_evo(
    tmp_path: Path, delta: float, unit: DeltaUnit, alignment: Alignment, part: str
) -> None:
    truth = walk()
    estimate = estimate_of(truth)
    result = relative_error(truth, estimate, delta, unit, alignment)
    assert result.motions > 8
    options = ["-r", part, "-d", str(delta), "-u", unit[0], *(["-as"] * (alignment == "sim3"))]
    theirs = evo(tmp_path, "evo_rpe", truth, estimate, *options)
    ours = {
        "trans_part": (result.translation_errors, result.translation),
        "angle_deg": (result.rotation_errors, result.rotation),
    }
    assert_equal(ours[part], theirs)


def test_what_the_alignment_can_take_away_is_no_error() -> None:
    truth = walk()
    rotation = cv2.Rodrigues(np.array([2.0, 1.0, -0.5]))[0]
    shift = np.array([5.0, 6, -7])
    rigid, scaled = (moved(truth, rotation, shift, scale) for scale in (1.0, 0.25))
    assert absolute_error(truth, rigid, "none").translation.rmse > 1
    assert absolute_error(truth, rigid, "se3").translation.max < 1e-12
    assert absolute_error(truth, scaled, "se3").translation.rmse > 0.1
    result = absolute_error(truth, scaled, "sim3")
    assert result.translation.max < 1e-12
    assert result.scale == pytest.approx(4.0)
    np.testing.assert_allclose(result.aligned.matrices(), truth.matrices(), atol=1e-12)
    assert relative_error(truth, rigid, 5).translation.max < 1e-12
    assert relative_error(truth, rigid, 5).rotation.max < 1e-6
    assert relative_error(truth, scaled, 5, alignment="sim3").translation.max < 1e-12


def test_a_known_drift_is_measured() -> None:
    """One degree about the optical axis and a hundredth of the way in every frame."""
    ahead, turned = np.tile(np.eye(4), (2, 60, 1, 1))
    ahead[:, 2, 3] = 0.1 * np.arange(60)
    turned[:, 2, 3] = 0.101 * np.arange(60)
    turned[:, :3, :3] = [cv2.Rodrigues(np.array([0, 0, np.radians(k)]))[0] for k in range(60)]
    stamps = FRAME * np.arange(60)
    truth, estimate = (Trajectory.from_matrices(stamps, poses) for poses in (ahead, turned))
    by_frames = relative_error(truth, estimate, 5)
    assert by_frames.translation.min == pytest.approx(0.005)
    assert by_frames.translation.max == pytest.approx(0.005)
    assert by_frames.rotation.rmse == pytest.approx(5.0)
    by_way = relative_error(truth, estimate, 1.0, "metres")
    assert by_way.motions == 5
    assert by_way.rotation.mean == pytest.approx(10.0)
    # A straight line leaves a turn about itself open, which no position shows.
    assert absolute_error(truth, estimate, "sim3").translation.max < 1e-12
    assert absolute_error(truth, estimate, "none").translation.max == pytest.approx(0.059)


def test_a_mirrored_trajectory_is_not_turned_into_the_truth() -> None:
    truth = walk()
    mirrored = Trajectory(truth.stamps, truth.poses * np.array([-1, 1, 1, 1, 1, 1, 1]))
    result = absolute_error(truth, mirrored, "sim3")
    assert result.translation.rmse > 0.01
    turns = result.aligned.matrices()[:, :3, :3] @ mirrored.matrices()[:, :3, :3].transpose(0, 2, 1)
    assert np.linalg.det(turns) == pytest.approx(1)


def test_refusals_name_the_value_and_the_remedy() -> None:
    truth = walk()
    later = Trajectory(truth.stamps + 10**12, truth.poses)
    with pytest.raises(SettingError, match=r"0 stamps of the estimate \(150 poses from 130503210"):
        absolute_error(truth, later)
    still = Trajectory(truth.stamps, np.tile(truth.poses[0], (150, 1)))
    assert absolute_error(truth, still, "se3").translation.rmse > 0.1
    with pytest.raises(SettingError, match="positions of the estimate are the same"):
        absolute_error(truth, still, "sim3")
    with pytest.raises(SettingError, match=r"delta 1\.5: frames are counted in whole numbers"):
        relative_error(truth, truth, 1.5)
    with pytest.raises(SettingError, match="delta 0: metres are above 0"):
        relative_error(truth, truth, 0, "metres")
    with pytest.raises(SettingError, match="delta 99 metres is longer than the estimate"):
        relative_error(truth, truth, 99, "metres")
