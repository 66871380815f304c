"""What a camera records on its way through a room: frames by number or one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from edge_runtime.errors import SettingError
from edge_worlds.rooms.renderer import render

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_worlds.rooms.renderer import Pinhole
    from edge_worlds.rooms.room import Room
    from edge_worlds.rooms.trajectory import Trajectory

_EXPOSURE_PERIOD = 7.0  # seconds
_LONGEST_SHUTTER = 0.25  # seconds


class RenderedFrame(NamedTuple):
    """One picture.

    Attributes:
        stamp: seconds; the middle of the exposure.
        bgr: (height, width, 3) uint8.
        depth: (height, width) float32, metres along the optical axis, at the stamp.
        pose: (7,) camera-to-world tx ty tz qx qy qz qw at the stamp.
    """

    stamp: float
    bgr: NDArray[np.uint8]
    depth: NDArray[np.float32]
    pose: NDArray[np.float64]


@dataclass(frozen=True)
class Sensor:
    """What a real camera adds to a picture; the default adds nothing. Depth stays exact.

    Attributes:
        noise: standard deviation in grey levels.
        exposure: share in 0..1 by which brightness rises and falls within seven seconds.
        shutter: seconds that it stays open; moves blur.
        blur_poses: pictures that are averaged while it is open.

    Raises:
        SettingError: A value out of range.
    """

    noise: float = 0.0
    exposure: float = 0.0
    shutter: float = 0.0
    blur_poses: int = 5

    def __post_init__(self) -> None:
        limits = {
            "noise": (0, 255),
            "exposure": (0, 1),
            "shutter": (0, _LONGEST_SHUTTER),
            "blur_poses": (1, 100),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                message = f"sensor {name} {value}: give {low} to {high}"
                raise SettingError(message)


@dataclass(frozen=True)
class FrameSequence(Sequence[RenderedFrame]):
    """Frames of a camera, rendered when they are asked for; number k is always the same."""

    room: Room
    trajectory: Trajectory
    camera: Pinhole
    sensor: Sensor

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.trajectory)

    @overload
    def __getitem__(self, index: int) -> RenderedFrame: ...
    @overload
    def __getitem__(self, index: slice) -> list[RenderedFrame]: ...
    def __getitem__(self, index: int | slice) -> RenderedFrame | list[RenderedFrame]:
        """Frame number `index`, from the end where negative; a list of them for a slice."""
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        stamp = float(self.trajectory.stamps[number])
        pose = self.trajectory.poses[number]
        bgr, depth = render(self.room, self.camera, pose)
        return RenderedFrame(stamp, self._seen(bgr, number, stamp), depth, pose)

    def _seen(self, bgr: NDArray[np.uint8], number: int, stamp: float) -> NDArray[np.uint8]:
        """What the sensor makes of the clean picture at `stamp`."""
        sensor = self.sensor
        if sensor == Sensor():
            return bgr
        picture: NDArray[Any] = bgr.astype(np.float32)
        if sensor.shutter > 0:
            places = (np.arange(sensor.blur_poses) + 0.5) / sensor.blur_poses - 0.5
            poses = self.trajectory.at(stamp + sensor.shutter * places)
            shots = [render(self.room, self.camera, pose)[0] for pose in poses]
            picture = np.asarray(np.mean(shots, axis=0, dtype=np.float32))
        picture *= 1 + sensor.exposure * math.sin(2 * math.pi * stamp / _EXPOSURE_PERIOD)
        if sensor.noise > 0:
            rng = np.random.default_rng((self.room.seed, number))
            picture += sensor.noise * rng.standard_normal(picture.shape, dtype=np.float32)
        seen: NDArray[np.uint8] = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
        return seen


def frames(
    room: Room, trajectory: Trajectory, camera: Pinhole, sensor: Sensor | None = None
) -> FrameSequence:
    """The frames of `camera` on `trajectory`: iterate, or take frame k by `[k]`."""
    return FrameSequence(room, trajectory, camera, sensor or Sensor())
