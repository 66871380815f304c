"""Every picture in, its pose out: the system as a robot uses it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
import torch

from compressed_slam import se3
from compressed_slam.backend import Backend
from compressed_slam.encoder import STRIDE
from compressed_slam.frame import map_intrinsics
from compressed_slam.frontend import Frontend
from compressed_slam.keyframes import Keyframes
from compressed_slam.localiser import Localiser
from compressed_slam.projection import frame_distance
from compressed_slam.trajectory_log import TrajectoryLog
from edge_runtime.errors import MessageError, SettingError
from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from torch import Tensor

    from compressed_slam.backend import Correction
    from compressed_slam.frame import Frame
    from compressed_slam.localiser import Localisation
    from compressed_slam.matching import Operator, View
    from compressed_slam.settings import SlamSettings
    from edge_runtime.calibration import Calibration

_NEIGHBOURS = 3  # latest keyframes that a picture is matched with
_CANDIDATES = 6  # keyframes that a lost camera's picture is matched with
_SOON = 500_000_000  # ns; after a longer pause the motion before it says nothing
_LEAST_DEPTH = 0.1  # share of the first keyframe's depth that a sensor must have measured


class Health(Enum):
    """What a pose is worth."""

    INITIALISING = "initialising"
    TRACKING = "tracking"
    LOST = "lost"


@dataclass(frozen=True)
class Estimate:
    """Where a picture was taken from.

    Attributes:
        stamp: of the picture, ns.
        odometry: (7,) camera to odometry frame: smooth, drifts; jumps only where a lost camera is
            found again.
        pose: (7,) camera to map: corrected by the backend, may jump.
        covariance: (6, 6) of the tangent that perturbs the world-to-camera pose on the left,
            [translation, rotation]; infinite where nothing is known.
        health: of the tracking.
        keyframe: whether the picture became a keyframe.
    """

    stamp: int
    odometry: Tensor
    pose: Tensor
    covariance: Tensor
    health: Health
    keyframe: bool


class Tracker:
    """One camera's tracking and mapping; frames come in the order of their stamps.

    Attributes:
        keyframes: of the present map.
    """

    keyframes: Keyframes

    def __init__(
        self,
        settings: SlamSettings,
        operator: Operator,
        camera: Calibration,
        *,
        baseline: Tensor | None = None,
        measures_depth: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        """Begin an empty map.

        Args:
            settings: see there.
            operator: finds out where pixels went.
            camera: of the rectified pictures.
            baseline: (7,) from the left camera's axes to the right one's, of stereo frames.
            measures_depth: whether the frames come with measured inverse depth.
            device: where the geometry is computed; the operator's.

        Raises:
            SettingError: a camera whose sides are no multiples of 8.
        """
        if camera.width % STRIDE or camera.height % STRIDE:
            message = (
                f"pictures of {camera.width}x{camera.height}: both sides must be multiples of "
                f"{STRIDE}; a Rectifier makes such pictures"
            )
            raise SettingError(message)
        self._camera = camera
        self._settings = settings
        self._operator = operator
        self._intrinsics = map_intrinsics(camera).to(device)
        self._size = camera.height // STRIDE, camera.width // STRIDE
        self._baseline = None if baseline is None else baseline.to(device)
        self._measures_depth = measures_depth
        self._metric = measures_depth or baseline is not None
        self._localiser = Localiser(operator, self._intrinsics)
        self._backend = Backend(
            settings, operator, self._intrinsics, self._baseline, metric=self._metric
        )
        self._since_backend = 0
        self._next_candidate = 0
        self._pose = se3.identity(device)
        self._odometry_of_map = se3.identity(device)
        self._stamp: int | None = None
        self._ended_maps: list[Trajectory] = []
        self._begin_map(0)

    def track(self, frame: Frame) -> Estimate:
        """Find out where a frame was taken from, and learn from it.

        A frame that is lost gets the last pose that was known.

        Raises:
            MessageError: the frame is older than the one before it, or of another size than the
                camera's; it was not looked at.
        """
        self._check(frame)
        # What the tracker was not told to use it does not look at.
        frame = replace(
            frame,
            depth=frame.depth if self._measures_depth else None,
            right=None if self._baseline is None else frame.right,
        )
        view = self._operator.view(frame)
        self._correct(self._backend.result())
        estimate = (self._follow if self._started else self._initialise)(frame, view)
        if self.keyframes and estimate.health is not Health.LOST:
            self._log.add(frame.stamp, self.keyframes, self._pose)
        self._stamp = frame.stamp
        return estimate

    def close(self) -> None:
        """End the backend's thread."""
        self._backend.close()

    def finish(self) -> None:
        """Refine the whole map once more, with nothing left to track, and close."""
        self._correct(self._backend.result(wait=True))
        if self._started:
            self._backend.begin(self.keyframes)
            self._correct(self._backend.result(wait=True))
        self.close()

    def trajectory(self) -> Trajectory:
        """Return the poses of all frames that were not lost, camera to map, as now known.

        Where a map was given up and a new one begun, the new one begins at the last known pose.
        """
        parts = [*self._ended_maps, Trajectory(*self._log.poses(self.keyframes))]
        return Trajectory(
            np.concatenate([part.stamps for part in parts]),
            np.concatenate([part.poses for part in parts]),
        )

    def _check(self, frame: Frame) -> None:
        if self._stamp is not None and frame.stamp < self._stamp:
            message = (
                f"an image of time {frame.stamp} ns came after one of {self._stamp} ns: images "
                "come in the order of their time; start anew where a recording does"
            )
            raise MessageError(message, "order")
        expected = self._camera.height, self._camera.width
        for name in ("bgr", "depth", "right"):
            image = getattr(frame, name)
            if image is not None and image.shape[:2] != expected:
                message = (
                    f"{name} is {image.shape[1]}x{image.shape[0]}, but the pictures' camera has "
                    f"{expected[1]}x{expected[0]}: rectify both with it"
                )
                raise MessageError(message, "size")

    def _begin_map(self, first_id: int) -> None:
        device, settings = self._pose.device, self._settings
        self.keyframes = Keyframes(
            settings.max_keyframes, self._size, first_id=first_id, device=device
        )
        self._frontend = Frontend(
            settings, self.keyframes, self._operator, self._intrinsics, self._baseline
        )
        self._log = TrajectoryLog()
        self._motion = se3.identity(device)
        self._started = False
        self._missed = 0

    def _initialise(self, frame: Frame, view: View) -> Estimate:
        keyframes, settings = self.keyframes, self._settings
        if not keyframes:
            return self._estimate(
                frame, Health.INITIALISING, keyframe=self._take_first(frame, view)
            )
        motion = self._localiser.motion(keyframes.views[-1], view, self._size)
        if motion.confidence <= settings.least_confidence:
            return self._miss(frame, Health.INITIALISING)
        self._missed = 0
        moved = motion.flow > settings.motion_threshold
        if moved:
            keyframes.append(frame, view, self._pose, 1.0)
            if len(keyframes) == settings.warm_up:
                self._start()
        return self._estimate(frame, Health.INITIALISING, keyframe=moved)

    def _take_first(self, frame: Frame, view: View) -> bool:
        """Make the first keyframe of a map, if it shows something and can tell how far that is."""
        measured = frame.disp
        if self._measures_depth and (
            measured is None or (measured > 0).float().mean() < _LEAST_DEPTH
        ):
            return False
        if self._baseline is not None and view.right is None:
            return False
        seen = self._localiser.motion(view, view, self._size).confidence
        if seen <= self._settings.least_confidence:
            return False
        depth = 1.0 if measured is None else measured[measured > 0].mean()
        self.keyframes.append(frame, view, self._pose, depth)
        if self._metric:
            self._start()
        return True

    def _start(self) -> None:
        if self._frontend.start():
            self._started = True
            self._log.interpolate(self.keyframes)
            self._pose = self.keyframes.poses[len(self.keyframes) - 1].clone()
        else:
            self._begin_map(self.keyframes.next_id)

    def _follow(self, frame: Frame, view: View) -> Estimate:
        keyframes, count = self.keyframes, len(self.keyframes)
        soon = self._stamp is not None and frame.stamp - self._stamp < _SOON
        moves_on = soon and not self._missed
        guess = se3.compose(self._motion, self._pose) if moves_on else self._pose
        rows = range(max(0, count - _NEIGHBOURS), count)
        near = self._localiser.locate(view, guess, keyframes, rows)
        partner, found = (None, near) if self._good(near) else self._search(view)
        if found is None:
            return self._miss(frame, Health.LOST)
        pose = found.located.pose
        steady = moves_on and partner is None
        self._motion = (
            se3.compose(pose, se3.inverse(self._pose)) if steady else se3.identity(pose.device)
        )
        self._pose, self._missed = pose, 0
        motion, settings = found.motion, self._settings
        # Of a keyframe that is out of view, the flow says nothing.
        unseen = motion.confidence <= settings.least_confidence
        new = unseen or motion.flow > settings.motion_threshold or partner is not None
        if new:
            self._add_keyframe(frame, view, partner)
        covariance = found.located.covariance
        return self._estimate(frame, Health.TRACKING, keyframe=new, covariance=covariance)

    def _good(self, found: Localisation) -> bool:
        return found.located.solved and found.confidence > self._settings.least_confidence

    def _search(self, view: View) -> tuple[int | None, Localisation | None]:
        """Look for a lost camera near a few keyframes, others at every turn."""
        keyframes, count = self.keyframes, len(self.keyframes)
        tries = min(_CANDIDATES, count)
        rows = {count - 1, *((self._next_candidate + k) % count for k in range(tries))}
        self._next_candidate = (self._next_candidate + tries) % count
        located = [
            (row, self._localiser.locate(view, keyframes.poses[row], keyframes, [row]))
            for row in sorted(rows)
        ]
        good = [(row, found) for row, found in located if self._good(found)]
        return max(good, key=lambda each: each[1].confidence, default=(None, None))

    def _miss(self, frame: Frame, health: Health) -> Estimate:
        """Nothing known was recognised; after too long of that a new map begins."""
        self._missed += 1
        if self._missed > self._settings.patience:
            if self._started:
                self._ended_maps.append(Trajectory(*self._log.poses(self.keyframes)))
            self._begin_map(self.keyframes.next_id)
        return self._estimate(frame, health, keyframe=False)

    def _add_keyframe(self, frame: Frame, view: View, partner: int | None) -> None:
        keyframes = self.keyframes
        if keyframes.full:
            partner = self._make_room(partner)
        latest = keyframes.disps[len(keyframes) - 1]
        keyframes.append(frame, view, self._pose, latest.mean())
        self._frontend.step(partner)
        self._pose = keyframes.poses[len(keyframes) - 1].clone()
        self._since_backend += 1
        if self._since_backend >= self._settings.backend_every and self._backend.idle:
            self._since_backend = 0
            self._backend.begin(keyframes)

    def _make_room(self, partner: int | None) -> int | None:
        """Retire the oldest keyframe that the latest one does not overlap; else the oldest.

        Returns:
            The row where the keyframe of row `partner`, which stays, is then.
        """
        keyframes = self.keyframes
        latest = len(keyframes) - 1
        old = torch.arange(latest - self._settings.window, device=self._pose.device)
        old = old if partner is None else old[old != partner]
        apart = frame_distance(
            keyframes.poses,
            keyframes.disps,
            self._intrinsics,
            old,
            torch.full_like(old, latest),
            beta=self._settings.beta,
        )
        unseen = old[apart > self._settings.backend.threshold]
        row = int(unseen[0] if len(unseen) else old[0])
        self._frontend.retire(row)
        return partner if partner is None or partner < row else partner - 1

    def _correct(self, correction: Correction | None) -> None:
        if correction is None or correction.map is not self.keyframes:
            return
        motion = correction.apply()
        self._pose = se3.compose(self._pose, motion)
        self._odometry_of_map = se3.compose(self._odometry_of_map, motion)

    def _estimate(
        self, frame: Frame, health: Health, *, keyframe: bool, covariance: Tensor | None = None
    ) -> Estimate:
        pose = se3.inverse(self._pose)
        return Estimate(
            stamp=frame.stamp,
            odometry=se3.compose(self._odometry_of_map, pose),
            pose=pose,
            covariance=pose.new_full((6, 6), torch.inf) if covariance is None else covariance,
            health=health,
            keyframe=keyframe,
        )
