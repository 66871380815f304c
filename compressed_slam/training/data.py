"""The `data` section of recipes that train SLAM, and the pairs that it stands for."""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial
from itertools import count
from typing import TYPE_CHECKING, Annotated, Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from compressed_slam.offline.recorded import open_recording, walk_room
from compressed_slam.training.clips import Clip, Window
from compressed_slam.training.excerpts import ExcerptSource, batch_of_excerpts
from compressed_slam.training.frame_pairs import FramePairs
from compressed_slam.training.pairs import PairSource, batch_of, cut_pair
from compressed_slam.training.recordings import folder_digest, recorded_clip
from compressed_slam.training.room_clips import WORLD, room_clips
from compressed_slam.training.video_pairs import VideoPairs, load_teacher, read_video
from edge_compression.protocol import RecipePath  # noqa: TC001 - pydantic reads it
from edge_replay.datasets.layouts import open_sequence
from edge_runtime.errors import SettingError
from edge_runtime.files import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from compressed_slam.offline.recorded import Recording
    from compressed_slam.training.layers import PicturePair

Part = Literal["train", "validation", "held_out"]
_Side = Annotated[int, Field(ge=128, le=320, multiple_of=8)]

PICTURE = (320, 240)
"""Width and height of the clips' pictures, which the networks are judged on."""
_ROOM_SEEDS = {"train": 0, "validation": 500_000, "held_out": 700_000}  # added to the recipe's
_SEEDS = 1_000_000  # rooms of one seed of the recipe
_TRAINED = 0.8  # share of a sequence, its beginning; the rest validates
_FIXED = 2  # first poses of an excerpt that are told; the two tell its scale
_PHOTOGRAPH = 640  # pixels of the longer side, to which larger photographs are scaled


class ExcerptSettings(BaseModel):
    """Training through the bundle adjustment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: int = Field(default=6, ge=3, le=12, description="pictures of an excerpt")
    structure_steps: int = Field(
        default=0, ge=0, description="first steps, in which the poses are told and only depths move"
    )


class SlamData(BaseModel):
    """The recipe's `data` section: what pictures with known poses and flow are taken from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rooms: int = Field(ge=0, description="rendered for training, one walk of 32 pictures each")
    sequences: tuple[RecipePath, ...] = Field(
        default=(),
        description="folders of recorded sequences with depth and poses to train on; the last "
        "fifth of each is for choices on the way",
    )
    photographs: tuple[RecipePath, ...] = Field(
        default=(), description="folders of photographs, which move as flat layers"
    )
    videos: tuple[RecipePath, ...] = Field(
        default=(),
        description="folders of pictures in their order, without depth or poses, whose flow the "
        "`teacher` tells",
    )
    teacher: RecipePath | None = Field(
        default=None, description="checkpoint of a network, better a larger one, for `videos`"
    )
    validation_rooms: int = Field(default=2, ge=0, description="for choices on the way")
    held_out_rooms: int = Field(default=4, ge=0, description="for the report's figures")
    held_out_sequences: tuple[RecipePath, ...] = Field(
        default=(), description="recorded sequences for the report's figures, never trained on"
    )
    judged_pairs: int = Field(
        default=32, gt=1, description="of each kind, rooms and recorded, that are judged by"
    )
    tracked_frames: int = Field(
        default=100, gt=3, description="at most, of each room and sequence that is tracked"
    )
    validation_frames: int | None = Field(
        default=None,
        gt=3,
        description="the same for choices on the way and for calibration; default: as many",
    )
    largest_motion: float = Field(
        default=80.0, gt=0, le=100, description="of the pairs, pixels of a picture of 320x240"
    )
    crop: tuple[_Side, _Side] = Field(
        default=(224, 160), description="width and height that training sees of the pictures"
    )
    excerpts: ExcerptSettings | None = Field(
        default=None,
        description="train on a few pictures in a row, through the bundle adjustment; left out: on "
        "the flow of pairs",
    )
    seed: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _videos_have_a_teacher(self) -> SlamData:
        if bool(self.videos) != (self.teacher is not None):
            message = "videos learn from a teacher: give both, or leave both out"
            raise ValueError(message)
        return self

    def digest(self) -> str:
        """Hash the content of all files, and the version of the rooms."""
        folders = (*self.sequences, *self.photographs, *self.videos, *self.held_out_sequences)
        teacher = [sha256(self.teacher)] if self.teacher is not None else []
        digests = [f"rooms {WORLD}", *(folder_digest(folder) for folder in folders), *teacher]
        content = "\n".join(digests)
        return hashlib.sha256(content.encode()).hexdigest()


def training_batches(
    data: SlamData, batch_size: int, seed: int, start_step: int
) -> Iterator[dict[str, Tensor]]:
    """Yield batches of pairs or excerpts without end; number k depends on (seed, k) alone."""
    width, height = data.crop
    if height > PICTURE[1]:
        message = f"crop: {width}x{height} does not fit into pictures of 320x240: lower the second"
        raise SettingError(message)
    excerpts = data.excerpts
    for step in count(start_step):
        rng = np.random.default_rng((seed, step))
        if excerpts is None:
            pairs = _pair_source(data)
            yield batch_of([pairs.draw(rng, data.crop) for _ in range(batch_size)])
        else:
            source = _excerpt_source(data)
            drawn = [source.draw(rng, excerpts.frames, data.crop) for _ in range(batch_size)]
            told = excerpts.frames if step < excerpts.structure_steps else _FIXED
            yield batch_of_excerpts(drawn, told)


def judged_pairs(
    data: SlamData, part: Literal["validation", "held_out"]
) -> Iterator[tuple[str, PicturePair]]:
    """Yield whole pairs with their kind, "rooms" or "recorded", from little motion to much."""
    for kind, walks in _walks(data, part).items():
        for pair in _whole(walks, data):
            yield kind, pair


def _whole(walks: FramePairs, data: SlamData) -> Iterator[PicturePair]:
    for pair in walks.spread(data.judged_pairs, data.largest_motion):
        yield cut_pair(walks, pair, Window.whole(PICTURE))


@lru_cache(maxsize=1)
def _excerpt_source(data: SlamData) -> ExcerptSource:
    return ExcerptSource.of(tuple(_walks(data, "train").values()))


@lru_cache(maxsize=1)
def _pair_source(data: SlamData) -> PairSource:
    photographs = [
        _photograph(path)
        for folder in data.photographs
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in {".jpg", ".jpeg", ".png"}
    ]
    walks = tuple(_walks(data, "train").values())
    return PairSource(walks, photographs, data.largest_motion, _video_pairs(data))


def _video_pairs(data: SlamData) -> VideoPairs | None:
    if data.teacher is None:
        return None
    videos = [read_video(folder, PICTURE) for folder in data.videos]
    return VideoPairs(videos, load_teacher(data.teacher))


def recordings(data: SlamData, part: Part) -> list[Callable[[], Recording]]:
    """Return what opens the recordings to be tracked, with measured depth.

    Of "train" the sequences and as many rooms, of "validation" the last fifth of each sequence and
    the rooms, the first `validation_frames` of each; of "held_out" the first `tracked_frames` of
    the held-out ones.

    Raises:
        SettingError: there is none.
    """
    frames = None if part == "held_out" else data.validation_frames
    rows = slice(frames or data.tracked_frames)
    if part == "held_out":
        opened = [partial(open_recording, folder, rows=rows) for folder in data.held_out_sequences]
    else:
        opened = [partial(_open_portion, folder, part, rows) for folder in data.sequences]
    rooms = _room_seeds(data, part)
    if part == "train":
        rooms = rooms[: max(1, len(opened))]
    walks = [partial(walk_room, seed, rows=rows) for seed in rooms]
    if not opened and not walks:
        message = f"there is no {part} recording to track: give more rooms or sequences"
        raise SettingError(message)
    return [*opened, *walks]


def _open_portion(folder: Path, part: Part, rows: slice) -> Recording:
    count = len(open_sequence(folder))
    cut = round(_TRAINED * count)
    portion = range(count)[:cut] if part == "train" else range(count)[cut:]
    chosen = portion[rows]
    return open_recording(folder, rows=slice(chosen.start, chosen.stop))


def _room_seeds(data: SlamData, part: Part) -> range:
    first = data.seed * _SEEDS + _ROOM_SEEDS[part]
    counts = {
        "train": data.rooms,
        "validation": data.validation_rooms,
        "held_out": data.held_out_rooms,
    }
    return range(first, first + counts[part])


@lru_cache(maxsize=3)
def _walks(data: SlamData, part: Part) -> dict[str, FramePairs]:
    """Pairs by kind, "rooms" and "recorded"; of a kind that has none there is no entry."""
    if part == "held_out":
        recorded = [recorded_clip(folder) for folder in data.held_out_sequences]
    else:
        recorded = [_portion(recorded_clip(folder), part) for folder in data.sequences]
    clips = {"rooms": room_clips(_room_seeds(data, part)), "recorded": recorded}
    walks = {kind: FramePairs.of(found) for kind, found in clips.items()}
    walks = {kind: pairs for kind, pairs in walks.items() if len(pairs)}
    if not walks:
        where = "held_out_sequences" if part == "held_out" else "sequences"
        message = f"there are no two {part} pictures that overlap: give more rooms or {where}"
        raise SettingError(message)
    return walks


def _portion(clip: Clip, part: Part) -> Clip:
    cut = round(_TRAINED * len(clip))
    rows = slice(0, cut) if part == "train" else slice(cut, None)
    return Clip(clip.bgr[rows], clip.depth[rows], clip.poses[rows], clip.intrinsics)


def _photograph(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None or min(picture.shape[:2]) < PICTURE[1]:
        message = f"photograph '{path}' cannot be read or is smaller than 320x240: remove it"
        raise SettingError(message)
    scale = max(_PHOTOGRAPH / max(picture.shape[:2]), PICTURE[1] / min(picture.shape[:2]))
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return picture  # type: ignore[return-value]
