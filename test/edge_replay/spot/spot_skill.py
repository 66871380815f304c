"""A skill small enough for tests: the centre of the brightest spot of an image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from spot_interface import CENTRE, SPOT

from edge_replay.protocol import Answers, Curve, FolderLabels, PlayedRun, Score
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

TOPIC = SPOT.resolve(CENTRE)


class SpotSkill:
    name = "spot"
    node = SPOT
    work_stages = ("engine",)

    def score(self, run: PlayedRun) -> Score | None:
        assert run.bundle is not None
        if run.labels is None:
            return None
        labels, results = run.labels, run.answers
        content = json.loads(labels.read_text())
        if "frames" not in content:
            message = f"{labels} has no spots: give a labels.json of this skill"
            raise SettingError(message)
        frames = {frame["stamp"]: frame["spot"] for frame in content["frames"]}
        errors = [
            float(np.hypot(a[TOPIC].point.x - frames[s][0], a[TOPIC].point.y - frames[s][1]))
            for s, a in results
            if s in frames
        ]
        thresholds = (0.0, 1.0, 2.0, 5.0, 10.0)
        shares = tuple(float(np.mean([e <= t for e in errors])) for t in thresholds)
        return Score(
            metrics={"mean error [px]": float(np.mean(errors)), "within 2 px": shares[2]},
            primary_metric="within 2 px",
            labelled=len(frames),
            answered=len(errors),
            curves=(Curve(name="spot", x_label="px", y_label="share", x=thresholds, y=shares),),
        )

    def draw(self, bgr: NDArray[Any], answers: Answers) -> NDArray[Any]:
        point = answers[TOPIC].point
        picture: NDArray[Any] = bgr.copy()
        cv2.circle(picture, (round(point.x), round(point.y)), 9, (0, 0, 255), 2)
        return picture

    def convert_labels(self, folder: Path, stamps: Mapping[str, int]) -> FolderLabels:
        file = folder / "spots.json"
        if not file.is_file():
            return FolderLabels(labels=None, camera_matrix=None)
        spots = json.loads(file.read_text())
        frames = [{"stamp": stamps[name], "spot": xy} for name, xy in spots.items()]
        return FolderLabels({"frames": frames}, (300.0, 0.0, 80.0, 0.0, 300.0, 60.0, 0.0, 0.0, 1.0))


class FaultySkill(SpotSkill):
    """Its judging is as wrong as a third party's can be."""

    name = "faulty"

    def score(self, run: PlayedRun) -> Score:
        return Score(
            metrics={"": 1 / (len(run.answers) - 5)}, primary_metric="", labelled=0, answered=0
        )

    def draw(self, bgr: NDArray[Any], answers: Answers) -> NDArray[Any]:
        del answers
        return bgr[bgr.shape[0]]  # type: ignore[no-any-return]


class NodelessSkill:
    """Has something to compress, and nothing to replay into."""

    name = "nodeless"
    primary_metric = "accuracy"
