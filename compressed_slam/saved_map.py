"""A map that a later run goes on in: its keyframes, and what is to know of their camera.

The keyframes' pictures are kept, not what networks made of them: another bundle reads them, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from compressed_slam.frame import Frame
from compressed_slam.keyframes import Keyframes
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressed_slam.interface import CameraMode
    from compressed_slam.matching import Operator
    from edge_runtime.calibration import Calibration

_SAME = 1e-3  # share by which focal lengths and the baseline may differ
_SAME_CENTRE = 0.5  # pixels


@dataclass(frozen=True)
class MapCamera:
    """The camera that a map was made with.

    Attributes:
        mode: what its frames had beside the picture.
        size: width and height of the rectified pictures.
        intrinsics: fx fy cx cy of them, pixels.
        baseline: metres between the cameras of a stereo pair, else 0.
    """

    mode: CameraMode
    size: tuple[int, int]
    intrinsics: tuple[float, float, float, float]
    baseline: float

    @classmethod
    def of(cls, mode: CameraMode, camera: Calibration, baseline: torch.Tensor | None) -> MapCamera:
        """Describe a camera whose pair, if it is one, has this `baseline` (7,), see `Tracker`."""
        fx, fy, cx, cy = camera.matrix[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()
        metres = 0.0 if baseline is None else -float(baseline[0])
        return cls(mode, (camera.width, camera.height), (fx, fy, cx, cy), metres)

    def fits(self, other: MapCamera) -> bool:
        """Whether a map of one camera is as true of the other."""
        ours, theirs = (np.array([*one.intrinsics[:2], one.baseline]) for one in (self, other))
        centres = np.subtract(self.intrinsics[2:], other.intrinsics[2:])
        return (
            (self.mode, self.size) == (other.mode, other.size)
            and bool((np.abs(ours - theirs) <= _SAME * np.abs(ours)).all())
            and bool((np.abs(centres) <= _SAME_CENTRE).all())
        )

    def __str__(self) -> str:
        """Say it in an error message."""
        width, height = self.size
        focal = f"fx {self.intrinsics[0]:.1f} fy {self.intrinsics[1]:.1f}"
        pair = f", baseline {self.baseline:.4f} m" if self.baseline else ""
        return f"camera_mode {self.mode}, pictures of {width}x{height} with {focal}{pair}"


@dataclass(frozen=True, eq=False)
class SavedMap:
    """The keyframes of a map, n of them, in the order in which they were taken in.

    Attributes:
        camera: that took them.
        world: (4, 4) float64 from the tracker's world to the robot's map frame.
        stamps: (n,) int64 ns.
        poses: (n, 7) float32 world to camera.
        disps: (n, h, w) float32 inverse depth.
        measured: (n, h, w) float32 inverse depth of a sensor, 0 where unknown.
        pictures: (n, H, W, 3) uint8 BGR.
        paired: (n,) bool, whether there is a right picture.
        rights: (paired ones, H, W, 3) uint8.
    """

    camera: MapCamera
    world: NDArray[np.float64]
    stamps: NDArray[np.int64]
    poses: NDArray[np.float32]
    disps: NDArray[np.float32]
    measured: NDArray[np.float32]
    pictures: NDArray[np.uint8]
    paired: NDArray[np.bool_]
    rights: NDArray[np.uint8]

    @classmethod
    def of(cls, keyframes: Keyframes, camera: MapCamera, world: NDArray[np.float64]) -> SavedMap:
        """Take the keyframes in memory; those that were retired have given up their maps."""
        count, taken = len(keyframes), keyframes.pictures
        rights = [frame.right for frame in taken if frame.right is not None]
        poses, disps, measured = (
            rows[:count].cpu().numpy().copy()
            for rows in (keyframes.poses, keyframes.disps, keyframes.measured)
        )
        return cls(
            camera,
            world,
            np.array(keyframes.stamps, np.int64),
            poses,
            disps,
            measured,
            np.stack([frame.bgr for frame in taken]),
            np.array([frame.right is not None for frame in taken]),
            np.stack(rights) if rights else np.zeros((0, *taken[0].bgr.shape), np.uint8),
        )

    def __len__(self) -> int:
        """The number of keyframes."""
        return len(self.stamps)

    def keyframes(
        self, operator: Operator, capacity: int, device: torch.device | str = "cpu"
    ) -> Keyframes:
        """Look at the pictures anew, and return the keyframes as they were.

        Args:
            operator: makes their views.
            capacity: see `Keyframes`.
            device: of the geometry.

        Raises:
            SettingError: they are more than the capacity.
        """
        if len(self) > capacity:
            message = f"a map of {len(self)} keyframes: at most {capacity} are kept in memory"
            raise SettingError(message)
        keyframes = Keyframes(capacity, self.disps.shape[1:], device=device)
        rights = iter(self.rights)
        poses, disps, measured = map(torch.from_numpy, (self.poses, self.disps, self.measured))
        for row, paired in enumerate(self.paired.tolist()):
            right = next(rights) if paired else None
            frame = Frame(int(self.stamps[row]), self.pictures[row], None, right)
            keyframes.append(frame, operator.view(frame), poses[row], disps[row])
            keyframes.measured[row] = measured[row]
        return keyframes
