"""A recorded sequence of images with its camera: the same for every data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge_replay.datasets.files import read_bgr
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.calibration import Calibration
    from edge_runtime.trajectory import Trajectory

_SECOND = 1_000_000_000
_RATE = 30


@dataclass(frozen=True)
class RightCamera:
    """The second camera of a stereo pair.

    Attributes:
        calibration: its own.
        from_left: (4, 4) transform of points from the left camera's optical frame to this one's,
            metres.
    """

    calibration: Calibration
    from_left: NDArray[np.float64]

    @property
    def baseline(self) -> float:
        """Distance of the two optical centres, metres."""
        return float(np.linalg.norm(self.from_left[:3, 3]))


class ImageSequence(Protocol):
    """Images with everything that is known about them; each is read when it is asked for.

    Frames are counted from 0, in the order of time.
    """

    @property
    def stamps(self) -> NDArray[np.int64]:
        """Of every frame, (N,) ns, rising."""

    @property
    def camera(self) -> Calibration:
        """The (left) camera's."""

    @property
    def right_camera(self) -> RightCamera | None:
        """None for a single camera."""

    @property
    def baseline(self) -> float | None:
        """Distance of the two cameras, metres; None for a single one."""

    @property
    def ground_truth(self) -> Trajectory | None:
        """Of the (left) camera's optical frame, with stamps of its own; None where unknown."""

    def __len__(self) -> int:
        """The number of frames."""

    def bgr(self, index: int) -> NDArray[np.uint8]:
        """Image of the (left) camera, as it was taken, (H, W, 3) BGR."""

    def depth(self, index: int) -> NDArray[np.float32] | None:
        """Depth, (H, W) metres, NaN where unseen; None where the frame has none."""

    def right(self, index: int) -> NDArray[np.uint8] | None:
        """Image of the right camera, as it was taken; None where the frame has none."""


@dataclass(frozen=True, eq=False)
class FolderSequence:
    """An `ImageSequence` of files, which see for what is not said here.

    Attributes:
        images: file of every frame.
        known_camera: None where the folder does not say it; `camera_remedy` is then what to do.
        depths: reads the depth of every frame, None for one without; empty for a set without.
        rights: file of every frame's right image, None for one without; empty for a single camera.
        timed: whether the stamps are the folder's; False where they are made up.
        notes: what the folder holds that is left out, and why.
    """

    stamps: NDArray[np.int64]
    images: Sequence[Path]
    known_camera: Calibration | None
    ground_truth: Trajectory | None
    depths: Sequence[Callable[[], NDArray[np.float32]] | None] = ()
    rights: Sequence[Path | None] = ()
    right_camera: RightCamera | None = None
    timed: bool = True
    camera_remedy: str = ""
    notes: tuple[str, ...] = ()

    @property
    def camera(self) -> Calibration:
        """The (left) camera's.

        Raises:
            SettingError: the folder does not say it.
        """
        if self.known_camera is None:
            raise SettingError(self.camera_remedy)
        return self.known_camera

    @property
    def baseline(self) -> float | None:
        """Distance of the two cameras, metres; None for a single one."""
        return self.right_camera.baseline if self.right_camera else None

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.images)

    def bgr(self, index: int) -> NDArray[np.uint8]:
        """Image of the (left) camera.

        Raises:
            SettingError: it cannot be read.
        """
        return read_bgr(self.images[index])

    def depth(self, index: int) -> NDArray[np.float32] | None:
        """Depth, or None where the frame has none.

        Raises:
            SettingError: it cannot be read.
        """
        read = self.depths[index] if self.depths else None
        return read() if read else None

    def right(self, index: int) -> NDArray[np.uint8] | None:
        """Image of the right camera, or None where the frame has none.

        Raises:
            SettingError: it cannot be read.
        """
        path = self.rights[index] if self.rights else None
        return read_bgr(path) if path else None


def made_up_stamps(numbers: Iterable[int], rate: float = _RATE) -> NDArray[np.int64]:
    """Stamps, ns, of frames that have numbers but no times: 30 Hz unless said otherwise.

    They begin at 1 s, so that nobody takes them for "no stamp".
    """
    return np.array([_SECOND + round(number * _SECOND / rate) for number in numbers], np.int64)
