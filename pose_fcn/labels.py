"""Labelled recordings: where the keypoints are in each frame, in `labels.json`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_replay.protocol import FolderLabels
from edge_runtime.errors import SettingError, first_problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

FOLDER_FILE = "keypoints.json"
"""Beside the images of a folder: the DREAM-style file that `replay convert` understands."""


class LabelledFrame(BaseModel):
    """One frame: `keypoints` as [u, v] pixels, null where not in the picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stamp: int = Field(description="nanoseconds, the image header's")
    keypoints: tuple[tuple[float, float] | None, ...]
    reference_length: float | None = Field(
        default=None, gt=0, description="projected length of the reference link in pixels"
    )

    def array(self) -> NDArray[np.float64]:
        """(k, 2), NaN where not in the picture."""
        return np.array([point or (np.nan, np.nan) for point in self.keypoints], float)


class PoseLabels(BaseModel):
    """The file. `names` are the labelled keypoints; a network is judged on those it knows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    skill: Literal["pose"] = "pose"
    names: tuple[str, ...]
    frames: tuple[LabelledFrame, ...]

    def columns(self, names: Sequence[str]) -> list[int | None]:
        """For each labelled keypoint its place among a network's `names`, None where unknown.

        Raises:
            SettingError: The network knows none of them.
        """
        if not set(self.names) & set(names):
            message = (
                f"the labels are for the keypoints {', '.join(self.names)}, the bundle's are "
                f"{', '.join(names)}: give a bundle for the arm in the recording"
            )
            raise SettingError(message)
        return [names.index(name) if name in names else None for name in self.names]


def read_labels(path: Path) -> PoseLabels:
    """Read a `labels.json`.

    Raises:
        SettingError: It cannot be read or is not of this skill.
    """
    try:
        return PoseLabels.model_validate_json(path.read_bytes())
    except OSError as error:
        message = f"labels '{path}' cannot be read ({error.strerror}): give a labels.json"
        raise SettingError(message) from None
    except ValidationError as error:
        message = (
            f"labels '{path}': {first_problem(error)}; expected skill 'pose', names, and frames "
            "with stamp, keypoints and reference_length"
        )
        raise SettingError(message) from None


def folder_labels(folder: Path, stamps: Mapping[str, int]) -> FolderLabels:
    """Read the `keypoints.json` of a folder of images, if it has one.

    The file has `K` (3x3), optionally `reference_link` (two names), and `frames`, each with
    `image` (path below the folder) and `keypoints`: `name`, `projected_location` [u, v] and
    `in_image`.

    Raises:
        SettingError: The file is there but is not of that form.
    """
    path = folder / FOLDER_FILE
    if not path.is_file():
        return FolderLabels(None, None)
    try:
        content = json.loads(path.read_bytes())
        matrix = tuple(float(value) for row in content["K"] for value in row)
        frames = content["frames"]
        names = tuple(point["name"] for point in frames[0]["keypoints"])
        reference = content.get("reference_link")
        labelled = tuple(
            _labelled_frame(frame, names, reference, stamps[frame["image"]])
            for frame in frames
            if frame["image"] in stamps
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        message = (
            f"'{path}' is no keypoint file ({type(error).__name__}: {error}): it needs K, and "
            "frames with image and keypoints {name, projected_location, in_image}"
        )
        raise SettingError(message) from None
    labels = PoseLabels(names=names, frames=labelled).model_dump(mode="json")
    return FolderLabels(labels, matrix)


def _labelled_frame(
    frame: Mapping[str, Any],
    names: Sequence[str],
    reference: Sequence[str] | None,
    stamp: int,
) -> LabelledFrame:
    points = {point["name"]: point for point in frame["keypoints"]}
    pixels = [points[name]["projected_location"] for name in names]
    length = None
    if reference is not None:
        first, second = (np.array(points[name]["projected_location"]) for name in reference)
        length = float(np.linalg.norm(first - second)) or None
    return LabelledFrame(
        stamp=stamp,
        keypoints=tuple(
            (float(u), float(v)) if points[name]["in_image"] else None
            for name, (u, v) in zip(names, pixels, strict=True)
        ),
        reference_length=length,
    )
