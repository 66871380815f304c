"""How well networks track recordings: what compression is judged by."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from compressed_slam.droid_operator import DroidOperator
from compressed_slam.estimate import Health
from compressed_slam.evaluation import absolute_error, relative_error
from compressed_slam.settings import preset
from compressed_slam.tracker import Tracker
from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from compressed_slam.droid_operator import Networks
    from compressed_slam.evaluation import Alignment
    from compressed_slam.offline.recorded import Recording

_SLOP_S = 0.02  # between a frame and its true pose
_NOWHERE = np.array([0.0, 0, 0, 0, 0, 0, 1])


@dataclass(frozen=True)
class Tracked:
    """How a recording was tracked.

    Attributes:
        ate: root mean square error of the positions of all frames after the whole map was refined,
            metres, aligned (of a single camera with scale); a frame that was lost counts as where
            the camera was last known to be.
        drift: the same of what was said of each frame in its time, in the smooth odometry frame,
            from the first one that was tracked on.
        claimed: standard deviation of the position that was claimed of the tracked frames, root
            mean square, metres (of a single camera in the scale of the truth).
        rpe_m: root mean square error of the motion from one frame to the next, metres.
        rpe_deg: the same of the rotation, degrees.
        tracked: share of the frames that were tracked, from the first such one on.
        frames: their number.
        keyframes: frames that became one.
        frame_ms: of a frame's call, median.
        frame_ms_p95: the same, 95th percentile.
        truth: of the frames' time.
        aligned: the refined trajectory, moved onto the truth.
    """

    ate: float
    drift: float
    claimed: float
    rpe_m: float
    rpe_deg: float
    tracked: float
    frames: int
    keyframes: int
    frame_ms: float
    frame_ms_p95: float
    truth: Trajectory = field(repr=False, compare=False)
    aligned: Trajectory = field(repr=False, compare=False)

    def row(self) -> dict[str, float]:
        """Return the figures for a table, as JSON values."""
        plain = {
            name: value for name, value in vars(self).items() if isinstance(value, (int, float))
        }
        return {name: round(value, 5) for name, value in plain.items()}


def track(networks: Networks, recording: Recording, **settings: Any) -> Tracked:  # noqa: ANN401
    """Track a recording as fast as it goes; `settings` are changes of the recording's preset."""
    tracker = Tracker(
        preset(recording.preset, **settings),
        DroidOperator(networks),
        recording.camera,
        baseline=recording.baseline,
        measures_depth=recording.mode == "rgbd",
    )
    states, odometry, stamps, took, variances = [], [], [], [], []
    keyframes = 0
    try:
        for frame in recording.frames():
            start = time.perf_counter()
            estimate = tracker.track(frame)
            took.append(1e3 * (time.perf_counter() - start))
            states.append(estimate.health)
            keyframes += estimate.keyframe
            stamps.append(frame.stamp)
            odometry.append(estimate.odometry.numpy())
            variances.append(estimate.covariance.diagonal()[:3].sum().item())
        tracker.finish()
    finally:
        tracker.close()
    asked = np.array(stamps)
    began = next((n for n, state in enumerate(states) if state is Health.TRACKING), 0)
    good = np.array([state is Health.TRACKING for state in states[began:]])
    said = Trajectory(asked[began:], np.array(odometry[began:]))
    final = _filled(tracker.trajectory(), asked)
    moved = np.ptp(final.positions, axis=0).any()
    alignment: Alignment = "sim3" if recording.mode == "mono" and moved else "se3"
    relative = relative_error(recording.truth, final, alignment=alignment, tolerance_s=_SLOP_S)
    error = absolute_error(recording.truth, final, alignment, tolerance_s=_SLOP_S)
    drift = absolute_error(recording.truth, said, alignment, tolerance_s=_SLOP_S)
    known = np.array(variances)[np.isfinite(variances)]
    ms = np.percentile(took, [50, 95])
    return Tracked(
        ate=error.translation.rmse,
        drift=drift.translation.rmse,
        claimed=drift.scale * float(np.sqrt(np.mean(known))) if len(known) else 0.0,
        rpe_m=relative.translation.rmse,
        rpe_deg=relative.rotation.rmse,
        tracked=float(good.mean()),
        frames=len(stamps),
        keyframes=keyframes,
        frame_ms=float(ms[0]),
        frame_ms_p95=float(ms[1]),
        truth=_during(recording.truth, asked),
        aligned=error.aligned,
    )


def _during(truth: Trajectory, stamps: NDArray[np.int64]) -> Trajectory:
    inside = (truth.stamps >= stamps[0]) & (truth.stamps <= stamps[-1])
    return truth[inside]


def _filled(known: Trajectory, stamps: NDArray[np.int64]) -> Trajectory:
    """Give every stamp the latest pose known before it; those before the first one get that."""
    if not len(known):
        return Trajectory(stamps, np.tile(_NOWHERE, (len(stamps), 1)))
    latest = np.searchsorted(known.stamps, stamps, side="right") - 1
    return Trajectory(stamps, known.poses[latest.clip(min=0)])
