"""Smooth paths of a camera through a room: walks, rounds, turns on the spot, none at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.errors import SettingError
from edge_worlds.rooms.free_space import Roadmap, free_places, no_way
from edge_worlds.rooms.poses import camera_pose
from edge_worlds.rooms.spline import along, evaluate, followed, smoothed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_worlds.rooms.room import Room

    Array = NDArray[np.float64]

CLEARANCE = 0.2
"""Metres that every path keeps from all surfaces."""
_STEP = 0.25  # seconds between control points
_LEAD = 4  # control points before the first frame: a shutter that is open around it needs some
_SPEED = 0.6  # metres per second
_CHECKS = 4  # points for a control point where a path is measured
_ATTEMPTS = 20
_LEAST_LAPS = 1.1  # of a loop
_TREMBLE = (0.004, 0.008, 0.012)  # of a hand: metres, radians of pitch, of roll
_NOD = (-22, 4, 25)  # lowest and highest pitch, degrees; its rate, degrees per second
_SPIN = 20  # degrees per second, of a turn on the spot


@dataclass(frozen=True)
class _Gaze:
    """How far a camera looks aside, left and right in turns, and how fast; degrees, seconds."""

    aside: tuple[float, float]
    rate: float


_CALM = _Gaze((10, 60), 40)
_HASTY = _Gaze((70, 120), 150)


@dataclass(frozen=True)
class Trajectory:
    """A camera's way through a room.

    Attributes:
        controls: (n, 6) control points of a cubic B-spline, a quarter of a second apart: position
            in metres, then yaw, pitch and roll in radians as `camera_pose` takes them.
        stamps: (m,) seconds, when frames are taken; the first is 0.
    """

    controls: Array
    stamps: Array

    def at(self, times: Array) -> Array:
        """Camera-to-world poses (k, 7) at `times` (k,) seconds, tx ty tz qx qy qz qw."""
        curve = evaluate(self.controls, _LEAD + times / _STEP)
        return camera_pose(curve[:, :3], *curve[:, 3:].T)

    @cached_property
    def poses(self) -> Array:
        """Camera-to-world poses of the frames, (m, 7)."""
        return self.at(self.stamps)

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.stamps)


def wander(room: Room, seed: int, length: float = 20.0, rate: float = 30.0) -> Trajectory:
    """A walk of `length` metres all over the room, about 0.6 m/s; `rate` frames per second.

    The camera looks where it goes and up to 60 degrees aside, turning by at most 40 degrees/s.

    Raises:
        SettingError: A length or rate that is not above 0, or furniture leaves no way.
    """
    return _walk(room, seed, length, rate, _CALM)


def fast_rotation(room: Room, seed: int, length: float = 20.0, rate: float = 30.0) -> Trajectory:
    """A walk as `wander`, but the camera looks around at up to 150 degrees/s every few seconds.

    Raises:
        SettingError: As `wander`.
    """
    return _walk(room, seed, length, rate, _HASTY)


def loop(room: Room, seed: int, length: float = 20.0, rate: float = 30.0) -> Trajectory:
    """Lap after lap of one way around a spot in the room, until `length` metres are gone.

    Every lap has the same curve and the same gaze: the path comes back to its start and overlaps it
    by a tenth of a lap or more.

    Raises:
        SettingError: As `wander`; or `length` is less than 1.1 laps.
    """
    _check_above_zero(length=length, rate=rate)
    rng = np.random.default_rng((room.seed, seed))
    roadmap = Roadmap(room, rng)
    for _ in range(_ATTEMPTS):
        corners = roadmap.round(rng)
        lap = along(np.concatenate([corners, corners[:1]]), _SPEED * _STEP)[:-1]
        laps = math.ceil(1.2 * length / (len(lap) * _SPEED * _STEP)) + 3
        controls = _control_points(rng, np.tile(lap, (laps, 1)), _CALM, laps)
        if not _is_free(room, controls[: 2 * len(lap)]):
            continue
        # The first lap starts with nothing to follow; the camera is in step from the second on.
        controls = controls[len(lap) :]
        once = _travelled(controls)[len(lap) * _CHECKS]
        if length < _LEAST_LAPS * once:
            message = (
                f"loop length {length:g} m: a lap of seed {seed} in room {room.seed} has "
                f"{once:.1f} m; give at least {math.ceil(10 * _LEAST_LAPS * once) / 10:g}"
            )
            raise SettingError(message)
        return _timed(controls, length, rate)
    raise no_way(room)


def pure_rotation(room: Room, seed: int, duration: float = 20.0, rate: float = 30.0) -> Trajectory:
    """A camera that looks around for `duration` seconds without moving from its place.

    Raises:
        SettingError: A duration or rate that is not above 0, or no free place.
    """
    _check_above_zero(duration=duration, rate=rate)
    rng = np.random.default_rng((room.seed, seed))
    place = free_places(room, rng)[0]
    count = _points_for(duration)
    heading = np.arange(count) * np.radians(_SPIN * _STEP) * rng.choice((-1, 1))
    controls = np.concatenate([np.tile(place, (count, 1)), _angles(rng, heading, _CALM, 1)], axis=1)
    return Trajectory(controls, _stamps(duration, rate))


def still(room: Room, seed: int, duration: float = 5.0, rate: float = 30.0) -> Trajectory:
    """A camera that looks past the room's middle for `duration` seconds and does not move.

    Raises:
        SettingError: A duration or rate that is not above 0, or no free place.
    """
    _check_above_zero(duration=duration, rate=rate)
    rng = np.random.default_rng((room.seed, seed))
    place = free_places(room, rng)[0]
    yaw = np.arctan2(-place[1], -place[0]) + rng.uniform(-0.4, 0.4)
    pose = [*place, yaw, rng.uniform(-0.3, 0.0), 0.0]
    controls = np.tile(pose, (_points_for(duration), 1))
    return Trajectory(controls, _stamps(duration, rate))


def _walk(room: Room, seed: int, length: float, rate: float, gaze: _Gaze) -> Trajectory:
    _check_above_zero(length=length, rate=rate)
    rng = np.random.default_rng((room.seed, seed))
    roadmap = Roadmap(room, rng)
    for _ in range(_ATTEMPTS):
        way = along(roadmap.walk(rng, 1.3 * length + 4), _SPEED * _STEP)
        controls = _control_points(rng, way, gaze, 1)
        if _is_free(room, controls):
            return _timed(controls, length, rate)
    raise no_way(room)


def _control_points(rng: np.random.Generator, way: Array, gaze: _Gaze, laps: int) -> Array:
    """Control points (n, 6) of a camera that is carried along points `way` (n, 3)."""
    curve = smoothed(way, 3)
    steps = np.gradient(curve[:, :2], axis=0)
    heading = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    curve += np.tile(rng.normal(0, _TREMBLE[0], (len(way) // laps, 3)), (laps, 1))
    return np.concatenate([curve, _angles(rng, heading, gaze, laps)], axis=1)


def _angles(rng: np.random.Generator, heading: Array, gaze: _Gaze, laps: int) -> Array:
    """Yaw, pitch and roll (n, 3) about `heading` (n,), each lap looking around alike."""
    count = len(heading) // laps
    glance = np.repeat(np.arange(count), rng.integers(8, 20, count))[:count]
    side = np.where(glance % 2, 1, -1) * rng.choice((-1, 1))
    aside = np.radians(rng.uniform(*gaze.aside, count))[glance] * side
    nod = np.radians(rng.uniform(_NOD[0], _NOD[1], count))[glance]
    shake = rng.normal(0, _TREMBLE[1:], (count, 2))
    yaw = followed(heading + np.tile(aside, laps), np.radians(gaze.rate) * _STEP)
    pitch = followed(np.tile(nod, laps), np.radians(_NOD[2]) * _STEP)
    angles = smoothed(np.stack([yaw, pitch, np.zeros_like(yaw)], axis=1), 1)
    angles[:, 1:] += np.tile(shake, (laps, 1))
    return angles


def _curve(controls: Array) -> Array:
    """Positions from time 0 on, (m, 3), _CHECKS for each control point."""
    end = len(controls) - 3 - _LEAD
    return evaluate(controls[:, :3], np.arange(_LEAD, end, 1 / _CHECKS))


def _is_free(room: Room, controls: Array) -> bool:
    return float(room.clearance(_curve(controls)).min()) > CLEARANCE


def _travelled(controls: Array) -> Array:
    """Metres since time 0 at each point of `_curve`."""
    steps = np.linalg.norm(np.diff(_curve(controls), axis=0), axis=1)
    return np.append(0.0, np.cumsum(steps))


def _timed(controls: Array, length: float, rate: float) -> Trajectory:
    travelled = _travelled(controls)
    times = np.arange(len(travelled)) * _STEP / _CHECKS
    return Trajectory(controls, _stamps(float(np.interp(length, travelled, times)), rate))


def _points_for(duration: float) -> int:
    return math.ceil(duration / _STEP) + 2 * _LEAD


def _stamps(duration: float, rate: float) -> Array:
    stamps: Array = np.arange(int(duration * rate + 1e-6) + 1) / rate
    return stamps


def _check_above_zero(**settings: float) -> None:
    for name, value in settings.items():
        if not (math.isfinite(value) and value > 0):
            message = f"{name} {value:g}: give a number above 0"
            raise SettingError(message)
