"""Which data set a folder is of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_replay.datasets.eth3d import CALIBRATION_FILE, read_eth3d
from edge_replay.datasets.euroc import read_euroc
from edge_replay.datasets.ndds import CAMERA_FILE, read_ndds
from edge_replay.datasets.scenes import POSE_FILE, read_scenes
from edge_replay.datasets.seven_scenes import read_seven_scenes
from edge_replay.datasets.tartanair import read_tartanair
from edge_replay.datasets.tum import read_tum
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_replay.datasets.sequence import FolderSequence


@dataclass(frozen=True)
class Layout:
    """How the folders of a data set look.

    Attributes:
        sign: what tells them from others, as a pattern of paths below the folder.
        read: makes a sequence of a folder that has the sign.
        beside: a file that must be there, too.
        unless: a file that tells of another data set.
    """

    sign: str
    read: Callable[[Path], FolderSequence]
    beside: str = ""
    unless: str = ""

    def fits(self, folder: Path) -> bool:
        """Whether the folder has the sign."""
        if self.unless and (folder / self.unless).is_file():
            return False
        return next(folder.glob(self.sign), None) is not None and (folder / self.beside).exists()


LAYOUTS = {
    "tum": Layout("rgb.txt", read_tum, unless=CALIBRATION_FILE),
    "eth3d": Layout(CALIBRATION_FILE, read_eth3d, beside="rgb.txt"),
    "euroc": Layout("mav0/cam0/data.csv", read_euroc),
    "7scenes": Layout("frame-*.color.png", read_seven_scenes),
    "tartanair": Layout("image_left/*_left.png", read_tartanair),
    "ndds": Layout(CAMERA_FILE, read_ndds),
    "view": Layout(POSE_FILE, read_scenes),
    "views": Layout(f"*/{POSE_FILE}", read_scenes),
}


def open_sequence(folder: Path, layout: str | None = None) -> FolderSequence:
    """Open a folder of a data set; its images are read when they are asked for.

    Args:
        folder: one sequence.
        layout: a key of `LAYOUTS`; None finds it from what lies in the folder.

    Raises:
        SettingError: no such folder or layout, files in it that cannot be read, or no camera.
    """
    if not folder.is_dir():
        message = f"folder '{folder}' does not exist: give that of a data set's sequence"
        raise SettingError(message)
    if layout is None:
        return _calibrated(LAYOUTS[_found(folder)].read(folder))
    if layout not in LAYOUTS:
        message = f"layout '{layout}' is unknown: choose one of {', '.join(LAYOUTS)}"
        raise SettingError(message)
    if not LAYOUTS[layout].fits(folder):
        message = (
            f"'{folder}' is no {layout} sequence: it has no {LAYOUTS[layout].sign}; give another "
            f"folder, or another layout of {', '.join(LAYOUTS)}"
        )
        raise SettingError(message)
    return _calibrated(LAYOUTS[layout].read(folder))


def _calibrated(sequence: FolderSequence) -> FolderSequence:
    if sequence.known_camera is None:
        raise SettingError(sequence.camera_remedy)
    return sequence


def _found(folder: Path) -> str:
    names = fitting_layouts(folder)
    if len(names) == 1:
        return names[0]
    if names:
        message = f"'{folder}' may be {' or '.join(names)}: say which as the layout"
        raise SettingError(message)
    signs = ", ".join(f"{layout.sign} ({name})" for name, layout in LAYOUTS.items())
    below = sequences_below(folder)
    remedy = f"give its subfolder {below[0]}" if below else "give the folder of one sequence"
    message = f"'{folder}' is no data set that is known here: looked for {signs}; {remedy}"
    raise SettingError(message)


def fitting_layouts(folder: Path) -> list[str]:
    """Return the keys of `LAYOUTS` that a folder may be of."""
    return [name for name, layout in LAYOUTS.items() if layout.fits(folder)]


def sequences_below(folder: Path) -> list[str]:
    """Return the names of subfolders that are of a data set, sorted."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and fitting_layouts(path))
