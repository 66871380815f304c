"""What `replay` needs to know of the pose skill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edge_replay.protocol import Curve, FolderLabels, Score
from edge_runtime.bundle import load_bundle
from edge_runtime.share import shipped_bundle
from pose_fcn.accuracy import (
    DESCRIPTIONS,
    LOWER_IS_BETTER,
    PRIMARY_METRIC,
    accuracy_curve,
    pose_accuracy,
)
from pose_fcn.interface import ARM_POSE, KEYPOINTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_replay.protocol import Answers, PlayedRun

KEYPOINTS_TOPIC = ARM_POSE.resolve(KEYPOINTS)


class PoseReplay:
    """The part of the skill that scores and draws what the node answered."""

    name = "pose"
    node = ARM_POSE
    work_stages = ("preprocess", "engine", "clustering")
    metric_descriptions: ClassVar[dict[str, str]] = DESCRIPTIONS

    def score(self, run: PlayedRun) -> Score | None:
        """Compare keypoint clouds with a recording's `labels.json`, by the names of keypoints.

        What only one of labels and bundle knows is not judged, and noted.
        """
        if run.labels is None:
            return None
        from pose_fcn.labels import read_labels
        from pose_fcn.messages import cloud_pixels

        known = read_labels(run.labels)
        served = load_bundle(run.bundle or shipped_bundle(self.name), self.name)
        names = served.manifest.names
        columns = known.columns(names)
        shared = [place for place, column in enumerate(columns) if column is not None]
        note = known.differences(names)
        notes = () if note is None else (note,)
        frames = {frame.stamp: frame for frame in known.frames}
        scored = [(frames[stamp], answers) for stamp, answers in run.answers if stamp in frames]
        if not scored:
            return Score(
                metrics={},
                primary_metric=PRIMARY_METRIC,
                labelled=len(frames),
                answered=0,
                notes=notes,
            )
        predicted = np.stack(
            [cloud_pixels(answers[KEYPOINTS_TOPIC], columns) for _, answers in scored]
        )[:, shared]
        truth = np.stack([frame.array() for frame, _ in scored])[:, shared]
        lengths = np.array([frame.reference_length or np.nan for frame, _ in scored], float)
        thresholds, shares = accuracy_curve(predicted, truth)
        curve = Curve(
            name="all keypoints",
            x_label="threshold [px]",
            y_label="share of keypoints",
            x=tuple(thresholds.tolist()),
            y=tuple(shares.tolist()),
        )
        metrics = pose_accuracy(predicted, truth, lengths)
        return Score(
            metrics=metrics,
            primary_metric=PRIMARY_METRIC,
            labelled=len(frames),
            answered=len({frame.stamp for frame, _ in scored}),
            curves=(curve,),
            better={name: "lower" if name in LOWER_IS_BETTER else "higher" for name in metrics},
            notes=notes,
        )

    def draw(self, bgr: NDArray[Any], answers: Answers) -> NDArray[Any]:
        """Draw the keypoints of one answer."""
        from pose_fcn.messages import cloud_pixels
        from pose_fcn.overlay import draw_keypoints

        return draw_keypoints(bgr, cloud_pixels(answers[KEYPOINTS_TOPIC]))

    def convert_labels(self, folder: Path, stamps: Mapping[str, int]) -> FolderLabels:
        """Read the keypoints that stand beside the images; see `pose_fcn.labels`."""
        from pose_fcn.labels import folder_labels

        return folder_labels(folder, stamps)
