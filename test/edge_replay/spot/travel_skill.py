"""A skill that is judged as a whole: by the true path, over every message of its node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from travel_interface import KEEP, TRAVEL, WAY

from edge_replay.protocol import Answers, FolderLabels, PlayedRun, Saving, Score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

TOPIC = TRAVEL.resolve(WAY)


class TravelSkill:
    name = "travel"
    node = TRAVEL
    work_stages = ("search",)
    saving = Saving(KEEP, "keep_in", "kept")

    def score(self, run: PlayedRun) -> Score:
        ends = [way for way in (m.decode().point for m in run.messages) if way.x == 80]
        metrics = {
            "focal length [px]": float(run.recording.camera_infos["camera_info"].k[0]),
            "messages": float(len(run.messages)),
            "turns": float(len({message.turn for message in run.messages})),
            "images of a whole way": float(np.mean([way.y for way in ends])),
            "transforms": float(len(run.recording.transforms)),
        }
        if run.saved is not None:
            kept = (run.saved.folder / "stamps.txt").read_text().split()
            stamps = {run.saved.stamps[int(stamp)] for stamp in kept}
            known = {stamp for stamp, _ in run.answers}
            metrics["images kept"] = float(len(stamps & known))
        truth = run.recording.truth
        if truth is not None:
            metrics["error [m]"] = abs(truth.length - ends[0].x / 100)
        return Score(
            metrics=metrics,
            primary_metric="images of a whole way",
            labelled=0 if truth is None else len(truth),
            answered=len(run.answers),
        )

    def pictures(self, run: PlayedRun) -> Sequence[tuple[str, NDArray[Any]]]:
        return [(f"the way of {len(run.answers)} images", np.zeros((8, 8, 3), np.uint8))]

    def draw(self, bgr: NDArray[Any], answers: Answers) -> NDArray[Any]:
        del answers
        return bgr

    def convert_labels(self, folder: Path, stamps: Mapping[str, int]) -> FolderLabels:
        del folder, stamps
        return FolderLabels(labels=None, camera_matrix=(300.0, 0, 80, 0, 300, 60, 0, 0, 1))
