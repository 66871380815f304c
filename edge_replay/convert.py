"""`replay convert`: a folder of images becomes a ROS 2 bag, with its depth, poses and labels."""

from __future__ import annotations

import json
import os.path
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray
    from rosbags.interfaces import Connection

    from edge_replay.datasets.sequence import FolderSequence
    from edge_replay.protocol import ReplayableSkill

LABELS = "labels.json"
TOPIC = "/camera/image"
INFO_TOPIC = "/camera/camera_info"
DEPTH_TOPIC = "/camera/depth/image"
FRAME_ID = "camera_optical_frame"
WORLD = "world"

_TYPES = get_typestore(Stores.ROS2_HUMBLE)
_Storage = Literal["sqlite3", "mcap"]


@dataclass(frozen=True)
class Conversion:
    """What a bag was made of.

    Attributes:
        depths: frames with a depth image; `poses`: frames with a ground-truth pose.
        notes: what the folder lacks, or holds beyond what was converted.
    """

    images: int
    depths: int
    poses: int
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

    Args:
        folder: images, with the skill's own label file if it has one.
        bag: directory to make.
        rate: Hz, for images without a time; None takes the data set's, else 10.
        skill: reads labels and camera matrix; None leaves them out.
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
    if camera is not None:
        cameras = Cameras(None, _matrix(camera))
    else:
        cameras = Cameras(sequence.known_camera, matrix)
    frames = progress(stamps.tolist(), unit="image", desc=bag.name, leave=False)
    make = CameraMessages(_TYPES, FRAME_ID)
    messages = _messages(sequence, frames, cameras, compressed=compressed, make=make)
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
        labelled=known is not None and known.labels is not None,
        notes=(*cameras.notes, *sequence.notes, *_left_out(sequence, layouts, posed)),
    )


def _left_out(sequence: FolderSequence, layouts: list[str], posed: int) -> list[str]:
    notes = []
    if len(layouts) > 1:
        notes.append(f"read as {layouts[0]}; the folder looks like {', '.join(layouts[1:])} too")
    if sequence.right_camera is not None:
        notes.append("the images of the right camera are left out")
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


def _messages(
    sequence: FolderSequence,
    stamps: Iterable[int],
    cameras: Cameras,
    *,
    compressed: bool,
    make: CameraMessages,
) -> Iterator[tuple[str, Any, int]]:
    """Give topic, message and stamp; of each frame the image comes last."""
    poses = _poses(sequence)
    for index, stamp in enumerate(stamps):
        path = sequence.images[index]
        content = _bytes(path)
        file = make.compressed(content, _format(content), stamp)
        bgr = _decoded(file, path)
        if (camera := cameras.of(bgr)) is not None:
            yield INFO_TOPIC, make.camera_info(camera, stamp), stamp
        if (depth := sequence.depth(index)) is not None:
            yield DEPTH_TOPIC, make.depth(depth, stamp), stamp
        if (pose := poses.get(index)) is not None:
            yield TRUTH_TOPIC, make.pose(pose, WORLD, stamp), stamp
        if compressed:
            yield f"{TOPIC}/compressed", file, stamp
        else:
            yield TOPIC, make.bgr(bgr, stamp), stamp


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
