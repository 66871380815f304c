"""`replay convert`: a folder of images becomes a ROS 2 bag, with its depth, poses and labels."""

from __future__ import annotations

import json
import os.path
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from edge_replay.camera_messages import CameraMessages
from edge_replay.cameras import Cameras
from edge_replay.datasets.layouts import LAYOUTS, fitting_layouts
from edge_replay.datasets.plain import read_images
from edge_replay.datasets.sequence import made_up_stamps
from edge_replay.ground_truth import TRUTH_TOPIC
from edge_runtime.errors import MessageError, SettingError
from edge_runtime.files import whole_directory
from edge_runtime.images import to_bgr
from edge_runtime.picture_file import PNG, is_grey16_png
from edge_runtime.progress import progress
from edge_runtime.stereo import rectify_pair

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from rosbags.interfaces import Connection

    from edge_replay.datasets.sequence import FolderSequence, RightCamera
    from edge_replay.protocol import ReplayableSkill
    from edge_runtime.calibration import Calibration

LABELS = "labels.json"
DEPTH_TOPIC = "/camera/depth/image"
FRAME_ID = "camera_optical_frame"
RIGHT_FRAME_ID = "camera_right_optical_frame"
WORLD = "world"

_TYPES = get_typestore(Stores.ROS2_HUMBLE)
_Storage = Literal["sqlite3", "mcap"]


@dataclass(frozen=True)
class Conversion:
    """What a bag was made of.

    Attributes:
        depths: frames with a depth image; `poses`: frames with a ground-truth pose.
        rights: frames with an image of the right camera.
        notes: what the folder lacks, or holds beyond what was converted.
    """

    images: int
    depths: int
    poses: int
    rights: int
    labelled: bool
    notes: tuple[str, ...]


def convert(
    folder: Path,
    bag: Path,
    rate: float | None = None,
    *,
    skill: ReplayableSkill | None = None,
    camera: tuple[float, float, float, float] | None = None,
    compressed: bool = False,
    storage: _Storage = "sqlite3",
) -> Conversion:
    """Write a bag directory, whole or not at all.

    Folders of the data sets in `LAYOUTS` give their images with times, camera, depth and poses.
    Of other folders the images are taken (or those of its one subfolder that is named like
    images) in the order of the numbers in their names. All messages of a frame carry its stamp.
    Of a stereo pair the camera infos have the rectification.

    Args:
        folder: images, with the skill's own label file if it has one.
        bag: directory to make.
        rate: Hz, for images without a time; None takes the data set's, else 10.
        skill: reads labels and camera matrix, and says whether its node uses a right camera's
            images; None leaves labels out, and keeps those images.
        camera: fx fy cx cy in pixels; goes before the folder's own.
        compressed: keep JPEG and PNG files as CompressedImage instead of decoding them to bgr8.
        storage: of the bag.

    Raises:
        SettingError: no images, an unreadable file, or a bag that cannot be made there.
    """
    _check_free(bag)
    layouts = fitting_layouts(folder)
    sequence = LAYOUTS[layouts[0]].read(folder) if layouts else read_images(folder)
    if rate is not None and not sequence.timed:
        stamps = made_up_stamps(range(len(sequence)), rate)
    else:
        stamps = sequence.stamps
    names = [Path(os.path.relpath(path, folder)).as_posix() for path in sequence.images]
    known = None
    if skill is not None:
        known = skill.convert_labels(folder, dict(zip(names, stamps.tolist(), strict=True)))
    matrix = known.camera_matrix if known is not None else None
    notes = []
    pair = None
    if sequence.right_camera is not None:
        try:
            pair = _pair(sequence, skill, given=camera is not None)
        except SettingError as error:
            notes.append(f"the images of the right camera are left out: {error}")
    if camera is not None:
        cameras = Cameras(None, _matrix(camera))
    else:
        cameras = Cameras(pair[0] if pair else sequence.known_camera, matrix)
    eyes = [_Eye(sequence.images, cameras, "", FRAME_ID)]
    if pair:
        eyes.insert(0, _Eye(sequence.rights, Cameras(pair[1], None), "right/", RIGHT_FRAME_ID))
    frames = progress(stamps.tolist(), unit="image", desc=bag.name, leave=False)
    messages = _messages(sequence, frames, eyes, compressed=compressed)
    try:
        with whole_directory(bag) as temporary:
            _write_bag(temporary, bag.name, messages, storage)
            if known is not None and known.labels is not None:
                text = json.dumps(known.labels, indent=1)
                (temporary / LABELS).write_text(text + "\n", encoding="utf-8")
    except (OSError, sqlite3.Error) as error:
        message = f"{bag} cannot be written ({error}): give a folder with space that you may write"
        raise SettingError(message) from error
    posed = len(_poses(sequence))
    return Conversion(
        images=len(sequence),
        depths=sum(read is not None for read in sequence.depths),
        poses=posed,
        rights=sum(path is not None for path in sequence.rights) if pair else 0,
        labelled=known is not None and known.labels is not None,
        notes=(
            *dict.fromkeys(note for eye in eyes for note in eye.cameras.notes),
            *sequence.notes,
            *notes,
            *_left_out(sequence, layouts, posed),
        ),
    )


def _left_out(sequence: FolderSequence, layouts: list[str], posed: int) -> list[str]:
    notes = []
    if len(layouts) > 1:
        notes.append(f"read as {layouts[0]}; the folder looks like {', '.join(layouts[1:])} too")
    truth = sequence.ground_truth
    if truth is not None and (posed < len(sequence) or len(truth.lost)):
        lost = f"{len(truth.lost)} of {len(truth) + len(truth.lost)} poses are lost"
        notes.append(
            f"{len(sequence) - posed} of {len(sequence)} frames are without ground truth; {lost} "
            "(nan, inf or a quaternion of zeros)"
        )
    return notes


def _poses(sequence: FolderSequence) -> dict[int, NDArray[np.float64]]:
    """Return frame -> [tx ty tz qx qy qz qw] of those that have one."""
    truth = sequence.ground_truth
    if truth is None:
        return {}
    frames, places = truth.nearest(sequence.stamps)
    return dict(zip(frames.tolist(), truth.poses[places], strict=True))


def _matrix(camera: tuple[float, float, float, float]) -> tuple[float, ...]:
    fx, fy, cx, cy = camera
    return (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class _Eye:
    """One of the cameras: a file for each frame, or None, and the name of its topics."""

    files: Sequence[Path | None]
    cameras: Cameras
    name: str
    frame_id: str


def _pair(
    sequence: FolderSequence, skill: ReplayableSkill | None, *, given: bool
) -> tuple[Calibration, Calibration]:
    """Return both cameras with their rectification, where the right one is of use."""
    if skill is not None and "right colour" not in {item.kind for item in skill.node.inputs}:
        message = f"the skill {skill.name} does not use them"
        raise SettingError(message)
    if given:
        message = "--camera says nothing of a pair"
        raise SettingError(message)
    right = cast("RightCamera", sequence.right_camera)
    return rectify_pair(sequence.camera, right.calibration, right.from_left)


def _messages(
    sequence: FolderSequence, stamps: Iterable[int], eyes: Sequence[_Eye], *, compressed: bool
) -> Iterator[tuple[str, Any, int]]:
    """Give topic, message and stamp; of each frame the (left) image comes last."""
    poses = _poses(sequence)
    makers = [CameraMessages(_TYPES, eye.frame_id) for eye in eyes]
    of_left = makers[-1]
    for index, stamp in enumerate(stamps):
        if (depth := sequence.depth(index)) is not None:
            yield DEPTH_TOPIC, of_left.depth(depth, stamp), stamp
        if (pose := poses.get(index)) is not None:
            yield TRUTH_TOPIC, of_left.pose(pose, WORLD, stamp), stamp
        for eye, make in zip(eyes, makers, strict=True):
            if (path := eye.files[index]) is None:
                continue
            content = _bytes(path)
            file = make.compressed(content, _format(content), stamp)
            bgr = _decoded(file, path)
            if (camera := eye.cameras.of(bgr)) is not None:
                yield f"/camera/{eye.name}camera_info", make.camera_info(camera, stamp), stamp
            if compressed:
                yield f"/camera/{eye.name}image/compressed", file, stamp
            else:
                yield f"/camera/{eye.name}image", make.bgr(bgr, stamp), stamp


def _write_bag(
    directory: Path, name: str, messages: Iterable[tuple[str, Any, int]], storage: _Storage
) -> None:
    # The writer names its file after its directory and wants to make that itself.
    inner = directory / name
    with Writer(inner, version=8, storage_plugin=StoragePlugin[storage.upper()]) as writer:
        connections: dict[str, Connection] = {}
        for topic, message, stamp in messages:
            type_ = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, type_, typestore=_TYPES)
            writer.write(connections[topic], stamp, _TYPES.serialize_cdr(message, type_))
    for file in inner.iterdir():
        file.rename(directory / file.name)
    inner.rmdir()


def _bytes(path: Path) -> NDArray[np.uint8]:
    try:
        return np.fromfile(path, np.uint8)
    except OSError as error:
        message = f"image {path} cannot be read ({error.strerror}): repair it, or take it out"
        raise SettingError(message) from error


def _format(content: NDArray[np.uint8]) -> str:
    """Say what an image file is, in the words of image_transport."""
    if is_grey16_png(content.data):
        return "mono16; png compressed "  # "png" alone would be depth
    return "png" if bytes(content[: len(PNG)]) == PNG else "jpeg"


def _decoded(file: Any, path: Path) -> NDArray[np.uint8]:  # noqa: ANN401
    # As the node decodes: another reader may turn the image as its EXIF data says, away from its
    # labels and its camera matrix.
    try:
        return to_bgr(file)
    except MessageError as error:
        message = f"image {path} cannot be read: {error}"
        raise SettingError(message) from error


def _check_free(bag: Path) -> None:
    if bag.exists():
        message = f"{bag} exists already: choose another name, or remove it"
        raise SettingError(message)
    ground = next(parent for parent in bag.absolute().parents if parent.exists())
    if not ground.is_dir():
        message = f"{bag} cannot be made: {ground} is a file; give a name in a folder"
        raise SettingError(message)
