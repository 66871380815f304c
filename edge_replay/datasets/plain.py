"""A folder of images and nothing that says more of them, or only their camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_replay.datasets.layouts import sequences_below
from edge_replay.datasets.listing import list_images
from edge_replay.datasets.sequence import FolderSequence, made_up_stamps
from edge_replay.datasets.tum import CAMERA_FILE, read_intrinsics
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.calibration import Calibration

_RATE = 10.0
_SUBFOLDERS = ("color", "colour", "rgb", "images", "image")
_DEPTH_FOLDERS = ("depth", "depths")


def read_images(folder: Path) -> FolderSequence:
    """Read the images of a folder, or of its one subfolder that is named like images.

    Stamps are made up, at 10 Hz. Images that are depth or masks are left out. The camera is that
    of `intrinsics.txt`, if there is one of the same form as in `tum`.

    Raises:
        SettingError: no such folder, or no images in it.
    """
    if not folder.is_dir():
        message = f"folder {folder} does not exist: give one that holds .png or .jpg images"
        raise SettingError(message)
    places = [folder, *(folder / name for name in _SUBFOLDERS)]
    listings = [list_images(place) for place in places if place.is_dir()]
    images = next((listing.colour for listing in listings if listing.colour), [])
    others = sum(len(listing.others) for listing in listings)
    if not images:
        raise SettingError(_refusal(folder, others))
    notes = []
    if others:
        notes.append(f"{others} images are left out: depth or masks, by their names or 16 bits")
    if depth := next((name for name in _DEPTH_FOLDERS if (folder / name).is_dir()), None):
        notes.append(
            f"the folder {depth} is left out: nothing says its unit and which image goes with "
            "which; rgb.txt, depth.txt and intrinsics.txt do, as in TUM's data sets"
        )
    camera, trouble = _camera(folder)
    return FolderSequence(
        stamps=made_up_stamps(range(len(images)), _RATE),
        timed=False,
        images=images,
        known_camera=camera,
        camera_remedy=f"the camera of '{folder}' is unknown",
        ground_truth=None,
        notes=(*notes, *trouble),
    )


def _camera(folder: Path) -> tuple[Calibration | None, list[str]]:
    path = folder / CAMERA_FILE
    if not path.is_file():
        return None, []
    try:
        return read_intrinsics(path, has_depth=False)[0], []
    except SettingError as error:
        # Others have files of that name too; the images do without.
        return None, [f"the camera is left out: {error}"]


def _refusal(folder: Path, others: int) -> str:
    if others:
        return (
            f"{folder} holds no colour images, but {others} that are depth or masks by their "
            "names: rename them if they are what a camera saw"
        )
    below = sequences_below(folder)
    remedy = f": give its subfolder {below[0]}" if below else ""
    return (
        f"{folder} holds no .png or .jpg images, neither itself nor in "
        f"{', '.join(_SUBFOLDERS)}, and no rgb.txt{remedy}"
    )
