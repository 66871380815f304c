"""`replay convert`: a folder of images becomes a ROS 2 bag, with its labels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from tqdm import tqdm

from edge_replay.datasets.tum import read_list
from edge_replay.topics import CAMERA_INFO, COMPRESSED, IMAGE
from edge_runtime.errors import MessageError, SettingError
from edge_runtime.files import whole_directory
from edge_runtime.images import to_bgr

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from rosbags.typesys.store import Typestore

    from edge_replay.protocol import FolderLabels, ReplayableSkill

LABELS = "labels.json"
TOPIC = "/camera/image"
INFO_TOPIC = "/camera/camera_info"
FRAME_ID = "camera_optical_frame"

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
_SUBFOLDERS = ("color", "colour", "rgb", "images", "image")
_SECOND = 1_000_000_000
# Stamps made up here begin late enough that nobody takes them for "no stamp".
_FIRST_STAMP = _SECOND


@dataclass(frozen=True)
class Conversion:
    """What a bag was made of.

    Attributes:
        notes: what the folder lacks, or holds beyond what was converted.
    """

    images: int
    labelled: bool
    notes: tuple[str, ...]


def convert(
    folder: Path,
    bag: Path,
    rate: float,
    *,
    skill: ReplayableSkill | None = None,
    camera: tuple[float, float, float, float] | None = None,
    compressed: bool = False,
    storage: Literal["sqlite3", "mcap"] = "sqlite3",
) -> Conversion:
    """Write a bag directory, whole or not at all.

    Images are those of the folder (or of its one subfolder that is named like images), sorted by
    name and `rate` Hz apart; or the lines "timestamp path" of its rgb.txt (TUM) with their times.

    Args:
        folder: images, with the skill's own label file if it has one.
        bag: directory to make.
        rate: Hz, for images without a time.
        skill: reads labels and camera matrix; None leaves them out.
        camera: fx fy cx cy in pixels; goes before the folder's own.
        compressed: keep JPEG and PNG files as CompressedImage instead of decoding them to bgr8.
        storage: of the bag.

    Raises:
        SettingError: no images, an unreadable one, or a bag that cannot be made there.
    """
    _check_free(bag)
    if (folder / "rgb.txt").is_file():
        listed = read_list(folder)
        images = list(zip(listed.paths, listed.stamps.tolist(), strict=True))
    else:
        images = _sorted(folder, rate)
    stamps = {path.relative_to(folder).as_posix(): stamp for path, stamp in images}
    known = skill.convert_labels(folder, stamps) if skill else None
    matrix = _camera_matrix(camera, known)
    with whole_directory(bag) as temporary:
        _write_bag(temporary, bag.name, images, matrix, compressed=compressed, storage=storage)
        if known is not None and known.labels is not None:
            text = json.dumps(known.labels, indent=1)
            (temporary / LABELS).write_text(text + "\n", encoding="utf-8")
    notes = []
    if matrix is None:
        notes.append("no camera matrix is known, so the bag has no camera info (see --camera)")
    if (folder / "depth.txt").is_file():
        notes.append("depth images are not converted")
    labelled = known is not None and known.labels is not None
    return Conversion(len(images), labelled, tuple(notes))


def _check_free(bag: Path) -> None:
    if bag.exists():
        message = f"{bag} exists already: choose another name, or remove it"
        raise SettingError(message)
    ground = next(parent for parent in bag.absolute().parents if parent.exists())
    if not ground.is_dir():
        message = f"{bag} cannot be made: {ground} is a file; give a name in a folder"
        raise SettingError(message)


def _sorted(folder: Path, rate: float) -> list[tuple[Path, int]]:
    if not folder.is_dir():
        message = f"folder {folder} does not exist: give one that holds .png or .jpg images"
        raise SettingError(message)
    for place in (folder, *(folder / name for name in _SUBFOLDERS)):
        if place.is_dir():
            paths = sorted(p for p in place.iterdir() if p.suffix.lower() in _SUFFIXES)
            if paths:
                return [(p, _FIRST_STAMP + round(i * _SECOND / rate)) for i, p in enumerate(paths)]
    message = (
        f"{folder} holds no .png or .jpg images, neither itself nor in "
        f"{', '.join(_SUBFOLDERS)}, and no rgb.txt"
    )
    raise SettingError(message)


def _camera_matrix(
    camera: tuple[float, float, float, float] | None, known: FolderLabels | None
) -> tuple[float, ...] | None:
    if camera is not None:
        fx, fy, cx, cy = camera
        return (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)
    return known.camera_matrix if known else None


def _write_bag(
    directory: Path,
    name: str,
    images: list[tuple[Path, int]],
    matrix: tuple[float, ...] | None,
    *,
    compressed: bool,
    storage: Literal["sqlite3", "mcap"],
) -> None:
    types = get_typestore(Stores.ROS2_HUMBLE)
    # The writer names its file after its directory and wants to make that itself.
    inner = directory / name
    with Writer(inner, version=8, storage_plugin=StoragePlugin[storage.upper()]) as writer:
        type_ = COMPRESSED if compressed else IMAGE
        topic = f"{TOPIC}/compressed" if compressed else TOPIC
        image_connection = writer.add_connection(topic, type_, typestore=types)
        info_connection = matrix and writer.add_connection(INFO_TOPIC, CAMERA_INFO, typestore=types)
        for path, stamp in tqdm(images, unit="image", desc=name, leave=False, disable=None):
            file = _compressed_message(types, path, stamp)
            bgr = _decoded(file, path)
            message = file if compressed else _image_message(types, bgr, stamp)
            if matrix and info_connection:
                info = _info_message(types, matrix, bgr.shape[:2], stamp)
                writer.write(info_connection, stamp, types.serialize_cdr(info, CAMERA_INFO))
            writer.write(image_connection, stamp, types.serialize_cdr(message, type_))
    for file in inner.iterdir():
        file.rename(directory / file.name)
    inner.rmdir()


def _decoded(file: Any, path: Path) -> NDArray[np.uint8]:  # noqa: ANN401
    # As the node decodes: another reader may turn the image as its EXIF data says, away from its
    # labels and its camera matrix.
    try:
        return to_bgr(file)
    except MessageError as error:
        message = f"image {path} cannot be read: {error}"
        raise SettingError(message) from error


def _header(types: Typestore, stamp: int) -> Any:  # noqa: ANN401 (a class made at run time)
    seconds, nanoseconds = divmod(stamp, _SECOND)
    time = types.types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    return types.types["std_msgs/msg/Header"](stamp=time, frame_id=FRAME_ID)


def _image_message(types: Typestore, bgr: NDArray[Any], stamp: int) -> Any:  # noqa: ANN401
    height, width = bgr.shape[:2]
    return types.types[IMAGE](
        header=_header(types, stamp),
        height=height,
        width=width,
        encoding="bgr8",
        is_bigendian=0,
        step=3 * width,
        data=bgr.reshape(-1),
    )


def _compressed_message(types: Typestore, path: Path, stamp: int) -> Any:  # noqa: ANN401
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        message = f"image {path} cannot be read ({error.strerror}): repair it, or take it out"
        raise SettingError(message) from error
    return types.types[COMPRESSED](
        header=_header(types, stamp),
        format="png" if path.suffix.lower() == ".png" else "jpeg",
        data=data,
    )


def _info_message(
    types: Typestore, matrix: tuple[float, ...], shape: tuple[int, ...], stamp: int
) -> Any:  # noqa: ANN401
    k = np.array(matrix, np.float64)
    region = types.types["sensor_msgs/msg/RegionOfInterest"](
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return types.types[CAMERA_INFO](
        header=_header(types, stamp),
        height=shape[0],
        width=shape[1],
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=k,
        r=np.eye(3).reshape(-1),
        p=np.hstack([k.reshape(3, 3), np.zeros((3, 1))]).reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=region,
    )
