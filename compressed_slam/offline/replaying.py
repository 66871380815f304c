"""How a whole run of the node compares with the true poses of its recording."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from compressed_slam.evaluation import absolute_error, relative_error
from compressed_slam.map_files import TRAJECTORY
from compressed_slam.offline.presets import preset_of_layout
from edge_replay.protocol import Curve, Score
from edge_runtime.errors import SettingError
from edge_runtime.trajectory import Trajectory, read_trajectory

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from compressed_slam.evaluation import Alignment
    from edge_replay.protocol import PlayedRun

PRIMARY_METRIC = "ate"
METRICS = {
    "ate": "position error of /slam/pose as it was told, root mean square after alignment, metres",
    "odometry_ate": "the same of /slam/odometry",
    "map_ate": "the same of the trajectory in the map that was saved at the end, as then known",
    "map_share": "share of the answered frames that this trajectory holds",
    "rpe_m": "error of /slam/odometry's motion from one frame to the next, metres",
    "rpe_deg": "error of its rotation from one frame to the next, degrees",
    "ate_share": "ate, as a share of the way that the camera went",
    "scale": "by which the estimate was multiplied to fit, of a single camera",
    "auc": "area under the curve of frames over their largest error, up to 8 cm; 1 is no error",
    "within_2cm": "share of the answered frames whose error is at most 2 cm; a lost one is not",
    "within_5cm": "the same of 5 cm",
    "within_10cm": "the same of 10 cm",
    "tracked": "share of the answered frames whose pose was known",
}
LOWER_IS_BETTER = {"ate", "odometry_ate", "map_ate", "rpe_m", "rpe_deg", "ate_share"}

ODOMETRY, POSE = "/slam/odometry", "/slam/pose"
SAVED = "the saved map"
_AUC_M = 0.08  # ETH3D's largest error, there of whole sequences, here of frames
_WITHIN_CM = (2, 5, 10)
_UNKNOWN = 1e6  # m^2, the variance of a pose that is not known
_SLOP_S = 0.02  # between a frame and its true pose
_SECOND = 1e9
_TIME = "time [s]"


@dataclass(frozen=True)
class Told:
    """What the node told on one topic.

    Attributes:
        all: the poses of all its answers, known or not.
        known: (N,) bool.
        deviation: (N,) standard deviation of the position that it claimed, metres.
    """

    all: Trajectory
    known: NDArray[np.bool_]
    deviation: NDArray[np.float64]

    @property
    def trajectory(self) -> Trajectory:
        """The poses that were known."""
        return self.all[self.known]


def told(answers: Sequence[tuple[int, Mapping[str, Any]]], topic: str) -> Told:
    """Read the answers' PoseWithCovariance on a topic, in the order of their stamps."""
    found = sorted(((stamp, each[topic]) for stamp, each in answers if topic in each), key=_stamp)
    poses, variances = [], []
    for _, message in found:
        at, turn = message.pose.pose.position, message.pose.pose.orientation
        poses.append((at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w))
        variances.append(np.asarray(message.pose.covariance).reshape(6, 6).diagonal()[:3].sum())
    variance = np.array(variances)
    stamps = np.array([stamp for stamp, _ in found], np.int64)
    known = variance < _UNKNOWN
    return Told(Trajectory(stamps, np.array(poses).reshape(-1, 7)), known, np.sqrt(variance))


def saved_trajectory(run: PlayedRun) -> Trajectory | None:
    """Read the trajectory of the map that the node saved, by the recording's stamps.

    Returns:
        None where it saved none.

    Raises:
        SettingError: it cannot be read.
    """
    saved = run.saved
    if saved is None:
        return None
    written = read_trajectory(saved.folder / TRAJECTORY)
    rows = [row for row, stamp in enumerate(written.stamps.tolist()) if stamp in saved.stamps]
    stamps = np.array([saved.stamps[int(written.stamps[row])] for row in rows], np.int64)
    order = np.argsort(stamps, kind="stable")
    return Trajectory(stamps[order], written.poses[rows][order])


def _stamp(answer: tuple[int, Any]) -> int:
    return answer[0]


def alignment_of(parameters: Mapping[str, str]) -> Alignment:
    """Return how a run with these parameters of the node is moved onto the truth."""
    return "sim3" if parameters.get("camera_mode") == "mono" else "se3"


def node_parameters(inputs: Collection[str], layout: str | None) -> dict[str, str]:
    """Choose the camera mode by what a recording has, and the preset by its data set."""
    mode = "rgbd" if "depth" in inputs else "stereo" if "right/image" in inputs else "mono"
    return {"camera_mode": mode, "preset": preset_of_layout(layout)}


def score(run: PlayedRun) -> Score | None:
    """Compare the poses that were told with the recording's truth; None where it has none."""
    truth = run.recording.truth
    if truth is None:
        return None
    odometry, pose = told(run.answers, ODOMETRY), told(run.answers, POSE)
    alignment = alignment_of(run.parameters)
    metrics = {"tracked": float(odometry.known.mean()) if len(odometry.known) else 0.0}
    curves, notes = [], []
    try:
        errors = {
            name: absolute_error(truth, each.trajectory, alignment, tolerance_s=_SLOP_S)
            for name, each in (("pose", pose), ("odometry", odometry))
        }
        if (mapped := saved_trajectory(run)) is not None:
            errors["map"] = absolute_error(truth, mapped, alignment, tolerance_s=_SLOP_S)
            metrics["map_ate"] = errors["map"].translation.rmse
            metrics["map_share"] = len(mapped) / len(run.answers)
        relative = relative_error(
            truth, odometry.trajectory, alignment=alignment, tolerance_s=_SLOP_S
        )
    except SettingError as error:
        notes.append(f"no position errors: {error}")
    else:
        ate = errors["pose"].translation.rmse
        metrics |= {
            "ate": ate,
            "odometry_ate": errors["odometry"].translation.rmse,
            "rpe_m": relative.translation.rmse,
            "rpe_deg": relative.rotation.rmse,
        }
        if truth.length > 0:
            metrics["ate_share"] = ate / truth.length
        if alignment == "sim3":
            metrics["scale"] = errors["pose"].scale
        metrics |= _recalls(errors["pose"].errors, len(truth.nearest(pose.all.stamps, _SLOP_S)[0]))
        begin = pose.all.stamps[0]
        over_time = partial(_over_time, begin, y_label="position [m]")
        curves += [
            over_time(f"error of {name}", each.aligned.stamps, each.errors)
            for name, each in errors.items()
        ]
        claimed = errors["odometry"].scale * odometry.deviation[odometry.known]
        curves.append(over_time("standard deviation told", odometry.trajectory.stamps, claimed))
    if len(odometry.all):
        curves.append(
            _over_time(
                odometry.all.stamps[0],
                "pose known",
                odometry.all.stamps,
                odometry.known.astype(float),
                y_label="health",
            )
        )
    frames = np.array([frame.stamp for frame in run.recording.frames()], np.int64)
    labelled = set(frames[truth.nearest(np.sort(frames), _SLOP_S)[0]].tolist())
    return Score(
        metrics={name: metrics[name] for name in METRICS if name in metrics},
        primary_metric=PRIMARY_METRIC,
        labelled=len(labelled),
        answered=len(labelled.intersection(stamp for stamp, _ in run.answers)),
        curves=tuple(curves),
        better={n: "lower" if n in LOWER_IS_BETTER else "higher" for n in metrics if n != "scale"},
        notes=tuple(notes),
    )


def pictures(run: PlayedRun) -> list[tuple[str, NDArray[Any]]]:
    """Draw the true path and those that were told; nothing where they cannot be compared."""
    from compressed_slam.offline.pictures import draw_paths

    truth = run.recording.truth
    if truth is None:
        return []
    known = {topic: told(run.answers, topic).trajectory for topic in (POSE, ODOMETRY)}
    if (mapped := saved_trajectory(run)) is not None:
        known[SAVED] = mapped
    paths = {}
    for name, each in known.items():
        with suppress(SettingError):
            alignment = alignment_of(run.parameters)
            error = absolute_error(truth, each, alignment, tolerance_s=_SLOP_S)
            paths[name] = error.aligned.positions
    if not paths:
        return []
    return [(f"{', '.join(paths)} and the truth", draw_paths(truth.positions, paths))]


def _recalls(errors: NDArray[np.float64], answered: int) -> dict[str, float]:
    """Say how many of the answered frames with a true pose are how near it.

    Args:
        errors: of those whose pose was known, metres.
        answered: their number and that of the lost ones.
    """
    within = {f"within_{cm}cm": float((errors <= cm / 100).sum() / answered) for cm in _WITHIN_CM}
    # The integral of the share over the error that is allowed, without the curve's steps.
    area = float(np.clip(1 - errors / _AUC_M, 0, None).sum() / answered)
    return {"auc": area, **within}


def _over_time(
    begin: np.int64,
    name: str,
    stamps: NDArray[np.int64],
    values: NDArray[np.float64],
    *,
    y_label: str,
) -> Curve:
    return Curve(
        name=name,
        x_label=_TIME,
        y_label=y_label,
        x=tuple(((stamps - begin) / _SECOND).tolist()),
        y=tuple(values.tolist()),
    )


def draw(bgr: NDArray[np.uint8], answers: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Write the corrected position, or that it is not known, on a copy of an image."""
    import cv2

    message = answers[POSE]
    at = message.pose.pose.position
    known = np.asarray(message.pose.covariance).reshape(6, 6).diagonal()[:3].sum() < _UNKNOWN
    text = f"{at.x:+.2f} {at.y:+.2f} {at.z:+.2f} m" if known else "not known"
    drawn: NDArray[np.uint8] = bgr.copy()
    for colour, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        cv2.putText(
            drawn, text, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, thickness, cv2.LINE_AA
        )
    return drawn
