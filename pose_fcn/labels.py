"""Labelled recordings: where the keypoints are in each frame, in `labels.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_replay.datasets import ndds
from edge_replay.datasets.files import read_bgr
from edge_replay.protocol import FolderLabels
from edge_runtime.errors import SettingError, first_problem
from edge_runtime.rows import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_Model = TypeVar("_Model", bound=BaseModel)

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

    def differences(self, names: Sequence[str]) -> str | None:
        """Say which keypoints only the labels or only a network knows; None where all agree."""
        unknown = [name for name in self.names if name not in names]
        unlabelled = [name for name in names if name not in self.names]
        if not unknown and not unlabelled:
            return None
        both = [name for name in self.names if name in names]
        parts = [
            f"scored on the {len(both)} keypoints in both labels and bundle: {', '.join(both)}"
        ]
        if unknown:
            parts.append(f"the bundle does not know the labelled {', '.join(unknown)}")
        if unlabelled:
            parts.append(f"the labels do not know the bundle's {', '.join(unlabelled)}")
        return "; ".join([*parts, "if the recording shows another arm, give its bundle"])


class _Point(BaseModel):
    name: str
    projected_location: tuple[float, float]


class _JudgedPoint(_Point):
    in_image: bool


class _KeypointFrame(BaseModel):
    image: str
    keypoints: Annotated[tuple[_JudgedPoint, ...], Field(min_length=1)]


class _KeypointFile(BaseModel):
    """`keypoints.json`."""

    K: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
    reference_link: tuple[str, str] | None = None
    frames: Annotated[tuple[_KeypointFrame, ...], Field(min_length=1)]


class _NddsObject(BaseModel):
    keypoints: tuple[_Point, ...] = ()


class _NddsFrame(BaseModel):
    objects: tuple[_NddsObject, ...] = ()


def read_labels(path: Path) -> PoseLabels:
    """Read a `labels.json`.

    Raises:
        SettingError: It cannot be read or is not of this skill.
    """
    form = "skill 'pose', names, and frames with stamp, keypoints and reference_length"
    return _parsed(PoseLabels, path, "labels", form)


def folder_labels(folder: Path, stamps: Mapping[str, int]) -> FolderLabels:
    """Read the labels of a folder of images, if it has some.

    They are in its `keypoints.json`, which has `K` (3x3), optionally `reference_link` (two names),
    and `frames`, each with `image` (path below the folder) and `keypoints`: `name`,
    `projected_location` [u, v] and `in_image`. Or they are as NDDS writes them: `000000.json`
    beside `000000.png`, whose first object with `keypoints` is taken.

    Raises:
        SettingError: A label file is there but is not of that form.
    """
    path = folder / FOLDER_FILE
    if not path.is_file():
        return FolderLabels(_ndds_labels(folder, stamps), None)
    form = "K, and frames with image and keypoints {name, projected_location, in_image}"
    file = _parsed(_KeypointFile, path, "keypoint", form)
    names = tuple(point.name for point in file.frames[0].keypoints)
    frames = [
        _labelled_frame(path, frame.keypoints, names, stamps[frame.image], file.reference_link)
        for frame in file.frames
        if frame.image in stamps
    ]
    matrix = tuple(value for row in file.K for value in row)
    return FolderLabels(_dumped(names, frames), matrix)


def _ndds_labels(folder: Path, stamps: Mapping[str, int]) -> dict[str, Any] | None:
    names: tuple[str, ...] = ()
    frames: list[LabelledFrame] = []
    size: tuple[int, int] | None = None
    for image, stamp in stamps.items():
        picture = folder / image
        path = picture.with_name(f"{ndds.frame_name(picture)}.json")
        if not path.is_file():
            continue
        content = _parsed(_NddsFrame, path, "label", "objects with keypoints, as of NDDS")
        points = next((known.keypoints for known in content.objects if known.keypoints), ())
        if not points:
            continue
        names = names or tuple(point.name for point in points)
        # All pictures of a synthesizer have one size.
        size = size or _picture_size(picture)
        judged = [
            _JudgedPoint(**dict(point), in_image=_inside(point.projected_location, size))
            for point in points
        ]
        frames.append(_labelled_frame(path, judged, names, stamp))
    return _dumped(names, frames) if frames else None


def _picture_size(path: Path) -> tuple[int, int]:
    height, width = read_bgr(path).shape[:2]
    return width, height


def _labelled_frame(
    path: Path,
    keypoints: Sequence[_JudgedPoint],
    names: Sequence[str],
    stamp: int,
    reference: tuple[str, str] | None = None,
) -> LabelledFrame:
    points = {point.name: point for point in keypoints}
    if missing := [name for name in (*names, *(reference or ())) if name not in points]:
        message = f"'{path}': a frame lacks the keypoint {missing[0]!r}; all frames have the same"
        raise SettingError(message)
    length = None
    if reference is not None:
        first, second = (np.array(points[name].projected_location) for name in reference)
        length = float(np.linalg.norm(first - second)) or None
    return LabelledFrame(
        stamp=stamp,
        keypoints=tuple(
            points[name].projected_location if points[name].in_image else None for name in names
        ),
        reference_length=length,
    )


def _inside(pixel: tuple[float, float], size: tuple[int, int]) -> bool:
    # Centres of pixels are at integers.
    return all(0 <= place + 0.5 < side for place, side in zip(pixel, size, strict=True))


def _dumped(names: tuple[str, ...], frames: Sequence[LabelledFrame]) -> dict[str, Any]:
    return PoseLabels(names=names, frames=tuple(frames)).model_dump(mode="json")


def _parsed(model: type[_Model], path: Path, kind: str, form: str) -> _Model:
    try:
        return model.model_validate_json(read_text(path, form))
    except ValidationError as error:
        message = f"'{path}' is no {kind} file: {first_problem(error)}; it should hold {form}"
        raise SettingError(message) from None
