"""Walks through procedural rooms, and a tracker that follows them by the truth about their flow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from compressed_slam.evaluation import absolute_error
from compressed_slam.frame import Frame
from compressed_slam.oracle import Oracle
from compressed_slam.settings import preset
from compressed_slam.tracker import Tracker
from edge_runtime.calibration import Calibration
from edge_runtime.trajectory import Trajectory
from edge_worlds.rooms import trajectory as paths
from edge_worlds.rooms.renderer import Pinhole
from edge_worlds.rooms.room import make_room
from edge_worlds.rooms.sequence import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from compressed_slam.estimate import Estimate
    from compressed_slam.matching import Operator

SIZE = (160, 128)
WIDE = 75.0  # degrees


def camera(degrees: float = WIDE) -> Calibration:
    """A camera of that width of view."""
    pinhole = Pinhole.with_view(*SIZE, degrees)
    matrix = np.array([[pinhole.fx, 0, pinhole.cx], [0, pinhole.fy, pinhole.cy], [0, 0, 1]])
    return Calibration(*SIZE, matrix, np.zeros(0), "plumb_bob")


CAMERA = camera()
BASELINE = torch.tensor([-0.12, 0, 0, 0, 0, 0, 1])  # the right camera stands 12 cm to the right
SECOND = 1_000_000_000

Mode = Literal["mono", "rgbd", "stereo"]


@dataclass(frozen=True)
class Shot:
    """A picture with the truth about it; `stamp` ns, `pose` camera to world, `depth` metres."""

    stamp: int
    bgr: np.ndarray
    depth: np.ndarray
    pose: np.ndarray


@cache
def walk(kind: str, seed: int, amount: float, rate: float, *, degrees: float = WIDE) -> list[Shot]:
    """`kind` names a path of `edge_worlds.rooms.trajectory`; `amount` is its metres or seconds."""
    room = make_room(seed)
    path = getattr(paths, kind)(room, 0, amount, rate)
    return [
        Shot(round(frame.stamp * SECOND), frame.bgr, frame.depth, frame.pose)
        for frame in frames(room, path, Pinhole.with_view(*SIZE, degrees))
    ]


def darkened(shots: list[Shot], first: int, end: int) -> list[Shot]:
    """The same with the light off from shot `first` until `end`."""
    return [
        replace(shot, bgr=np.zeros_like(shot.bgr)) if first <= index < end else shot
        for index, shot in enumerate(shots)
    ]


def truth_of(shots: Iterable[Shot]) -> Trajectory:
    shots = list(shots)
    stamps = np.array([shot.stamp for shot in shots])
    return Trajectory(stamps, np.stack([shot.pose for shot in shots]))


class Drive:
    """A tracker on its way, with all that it said."""

    def __init__(
        self,
        mode: Mode,
        *,
        noise: float = 0.1,
        degrees: float = WIDE,
        live: bool = False,
        wrap: Callable[[Operator], Operator] = lambda operator: operator,
        **settings: object,
    ) -> None:
        """`wrap` makes the tracker's operator of the truth; `settings` are the tracker's."""
        self.mode = mode
        self.shots: dict[int, Shot] = {}
        self.estimates: list[Estimate] = []
        baseline = BASELINE if mode == "stereo" else None
        oracle = Oracle(self._truth, camera(degrees), baseline=baseline, noise=noise)
        self.tracker = Tracker(
            preset("tum", **settings),
            wrap(oracle),
            camera(degrees),
            baseline=baseline,
            measures_depth=mode == "rgbd",
            live=live,
        )

    def __call__(self, shots: Iterable[Shot]) -> Drive:
        for shot in shots:
            self.shots[shot.stamp] = shot
            self.estimates.append(self.tracker.track(self.frame(shot)))
        return self

    def frame(self, shot: Shot) -> Frame:
        depth = shot.depth if self.mode == "rgbd" else None
        # The oracle asks no more of a right picture than that there is one.
        return Frame(shot.stamp, shot.bgr, depth, shot.bgr if self.mode == "stereo" else None)

    def error(self, trajectory: Trajectory | None = None) -> float:
        """Root mean square error of the positions, metres, of what is known now or was said."""
        alignment = "sim3" if self.mode == "mono" else "se3"
        ours = self.tracker.trajectory() if trajectory is None else trajectory
        truth = truth_of(self.shots.values())
        return absolute_error(truth, ours, alignment=alignment).translation.rmse

    def said(self, frame: Literal["odometry", "pose"]) -> Trajectory:
        """What was said of every frame in its time, after initialisation."""
        told = [each for each in self.estimates if each.covariance.isfinite().all()]
        poses = np.stack([getattr(each, frame).double().numpy() for each in told])
        return Trajectory(np.array([each.stamp for each in told]), poses)

    def _truth(self, stamp: int) -> tuple[np.ndarray, np.ndarray]:
        return self.shots[stamp].pose, self.shots[stamp].depth
