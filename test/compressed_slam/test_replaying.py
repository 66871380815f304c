"""Whole runs of the node against the truth of the recording."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from compressed_slam.map_files import TRAJECTORY
from compressed_slam.offline.replaying import ODOMETRY, POSE, node_parameters, pictures, score
from edge_replay.protocol import PlayedRun, SavedRun
from edge_runtime.trajectory import Trajectory, write_trajectory

if TYPE_CHECKING:
    from pathlib import Path

    from edge_replay.protocol import Score

COUNT = 50
STAMPS = np.arange(COUNT) * 100_000_000
ANGLES = np.linspace(0, 4, COUNT)
PATH = np.stack([np.cos(ANGLES), np.sin(ANGLES), 0.1 * ANGLES], axis=1)
POSES = np.concatenate([PATH, np.tile([0.0, 0, 0, 1], (COUNT, 1))], axis=1)
# Frames 0 and 1 have no true pose.
TRUTH = Trajectory(STAMPS[2:], POSES[2:])


def message(position: np.ndarray, variance: float) -> SimpleNamespace:
    x, y, z = position
    pose = SimpleNamespace(
        position=SimpleNamespace(x=x, y=y, z=z), orientation=SimpleNamespace(x=0, y=0, z=0, w=1)
    )
    covariance = (variance * np.eye(6)).ravel()
    return SimpleNamespace(pose=SimpleNamespace(pose=pose, covariance=covariance))


def played(
    pose: np.ndarray,
    odometry: np.ndarray,
    lost: set[int],
    truth: Trajectory | None = TRUTH,
    **given: str,
) -> PlayedRun:
    answers = [
        (
            int(STAMPS[k]),
            {
                POSE: message(pose[k], 1e6 if k in lost else 1e-4),
                ODOMETRY: message(odometry[k], 1e6 if k in lost else 1e-4),
            },
        )
        for k in range(COUNT - 5)  # the last five are not answered
    ]
    recording: Any = SimpleNamespace(
        truth=truth, frames=lambda: (SimpleNamespace(stamp=int(stamp)) for stamp in STAMPS)
    )
    return PlayedRun(answers, [], recording, None, None, given)


def scored(pose: np.ndarray, odometry: np.ndarray, lost: set[int], **given: str) -> Score:
    found = score(played(pose, odometry, lost, **given))
    assert found is not None
    return found


def test_a_moved_path_has_no_error_and_a_lost_frame_none_of_its_own() -> None:
    turned = PATH[:, [1, 2, 0]] + 5.0  # a rotation of the axes
    wrong = turned.copy()
    wrong[10:15] = 99.0
    found = scored(turned, wrong, set(range(10, 15)))
    assert found.metrics["ate"] == pytest.approx(0, abs=1e-6)
    assert found.metrics["odometry_ate"] == pytest.approx(0, abs=1e-6)
    assert found.metrics["tracked"] == pytest.approx(40 / 45)
    assert (found.labelled, found.answered) == (48, 43)
    # Lost frames are not near the truth; the rest is exact.
    assert found.metrics["within_2cm"] == found.metrics["within_10cm"] == pytest.approx(38 / 43)
    assert found.metrics["auc"] == pytest.approx(38 / 43, abs=1e-6)
    assert found.better["tracked"] == "higher"
    assert found.better["ate"] == "lower"
    health = next(curve for curve in found.curves if curve.name == "pose known")
    assert health.y[9:16] == (1, 0, 0, 0, 0, 0, 1)
    claimed = next(curve for curve in found.curves if curve.name == "standard deviation told")
    assert claimed.y[0] == pytest.approx(np.sqrt(3e-4))


def test_the_share_of_near_frames_and_the_area_under_its_curve_are_told() -> None:
    # Off by 4 cm to either side in turns: within 5 cm, half of the 8 cm are under the curve.
    waving = PATH + np.outer(np.where(np.arange(COUNT) // 2 % 2, 0.04, -0.04), [0, 0, 1.0])
    found = scored(waving, waving, set())
    assert found.metrics["within_2cm"] == 0
    assert found.metrics["within_5cm"] == 1
    assert found.metrics["auc"] == pytest.approx(0.5, abs=0.05)
    assert found.better["auc"] == "higher"


def test_a_single_cameras_scale_is_free_and_told() -> None:
    half = PATH / 2
    assert scored(half, half, set()).metrics["ate"] > 0.1
    free = scored(half, half, set(), camera_mode="mono")
    assert free.metrics["ate"] == pytest.approx(0, abs=1e-6)
    assert free.metrics["scale"] == pytest.approx(2)
    assert free.metrics["rpe_m"] == pytest.approx(0, abs=1e-6)


def test_the_corrected_pose_and_the_odometry_are_judged_apart() -> None:
    drifting = PATH + np.outer(np.linspace(0, 1, COUNT) ** 2, [1.0, 0, 0])
    found = scored(PATH, drifting, set())
    assert found.metrics["ate"] < 1e-6
    assert found.metrics["odometry_ate"] > 0.05
    error = next(curve for curve in found.curves if curve.name == "error of odometry")
    assert len(error.x) == 43
    assert error.x[0] == pytest.approx(0.2)
    [(caption, picture)] = pictures(played(PATH, drifting, set()))
    assert caption == f"{POSE}, {ODOMETRY} and the truth"
    assert picture.shape == (560, 560, 3)


def test_the_map_is_judged_by_what_it_knew_in_the_end(tmp_path: Path) -> None:
    drifting = PATH + np.outer(np.linspace(0, 1, COUNT) ** 2, [1.0, 0, 0])
    # The recording had been played once before, and lasts ten seconds.
    later = STAMPS + 10_000_000_000
    write_trajectory(tmp_path / TRAJECTORY, Trajectory(later[5:25], POSES[5:25]))
    saved = SavedRun(tmp_path, dict(zip(later.tolist(), STAMPS.tolist(), strict=True)))
    run = replace(played(drifting, drifting, set()), saved=saved)
    found = score(run)
    assert found is not None
    assert found.metrics["ate"] > 0.05
    assert found.metrics["map_ate"] < 1e-6
    assert found.metrics["map_share"] == pytest.approx(20 / 45)
    error = next(curve for curve in found.curves if curve.name == "error of map")
    assert error.x[0] == pytest.approx(0.5)
    (caption, picture), before = pictures(run)[0], pictures(replace(run, saved=None))[0][1]
    assert caption == f"{POSE}, {ODOMETRY}, the saved map and the truth"
    assert (picture != before).any()


def test_a_camera_that_was_always_lost_has_a_note_in_place_of_errors() -> None:
    found = scored(PATH, PATH, set(range(COUNT)))
    assert found.metrics == {"tracked": 0}
    assert "no position errors" in found.notes[0]
    assert pictures(played(PATH, PATH, set(range(COUNT)))) == []


def test_without_truth_nothing_is_scored() -> None:
    assert score(played(PATH, PATH, set(), None)) is None


def test_the_camera_mode_follows_what_the_recording_has() -> None:
    assert node_parameters({"image", "depth"}, "tum") == {"camera_mode": "rgbd", "preset": "tum"}
    stereo = {"image", "right/image", "camera_info", "right/camera_info"}
    assert node_parameters(stereo, "euroc") == {"camera_mode": "stereo", "preset": "euroc"}
    assert node_parameters({"image", "depth"}, "eth3d")["preset"] == "eth3d"
    assert node_parameters({"image"}, None) == {"camera_mode": "mono", "preset": "tum"}
