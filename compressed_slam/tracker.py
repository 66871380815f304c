"""Every picture in, its pose out: the system as a robot uses it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from compressed_slam import se3
from compressed_slam.encoder import STRIDE
from compressed_slam.estimate import Estimate, Health
from compressed_slam.executors import Beside, Inline
from compressed_slam.frame import map_intrinsics
from compressed_slam.localiser import Localiser
from compressed_slam.map_points import map_points
from compressed_slam.mapper import Candidate, Mapper
from compressed_slam.pace import Pace
from compressed_slam.relocaliser import Relocaliser
from compressed_slam.saved_map import SavedMap
from compressed_slam.trajectory_log import TrajectoryLog
from compressed_slam.uncertainty import Uncertainty
from edge_runtime.errors import SettingError
from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from compressed_slam.executors import Executor
    from compressed_slam.frame import Frame
    from compressed_slam.keyframes import Keyframes
    from compressed_slam.matching import Operator, View
    from compressed_slam.saved_map import MapCamera
    from compressed_slam.settings import SlamSettings
    from compressed_slam.snapshot import Snapshot
    from edge_runtime.calibration import Calibration

_APART = 1.25  # times `keyframe_threshold`; with depth, nearer keyframes are soon given up again
_NEIGHBOURS = 2  # latest keyframes that a picture is matched with
_SOON = 500_000_000  # ns; after a longer pause the motion before it says nothing
_LEAST_DEPTH = 0.1  # share of the first keyframe's depth that a sensor must have measured
_WAITING = 3  # keyframes that wait while one is taken in


class Tracker:
    """One camera's tracking, and the mapping that it stands on.

    Frames come in the order of their stamps. Where it is live, keyframes are taken in by a thread
    of their own, and `track` waits for none of it: until a keyframe is taken in, pictures are
    located by it as tracked and measured, or, without a depth of its own, by those before. While
    several wait, no further picture becomes a keyframe; `postponed` counts them. Otherwise all is
    done in the call, and is the same every time.

    Attributes:
        known: the map as pictures are located by it.
        postponed: pictures that would have become a keyframe, had mapping not been behind.
    """

    known: Snapshot

    def __init__(
        self,
        settings: SlamSettings,
        operator: Operator,
        camera: Calibration,
        *,
        baseline: Tensor | None = None,
        measures_depth: bool = False,
        device: torch.device | str = "cpu",
        live: bool = False,
    ) -> None:
        """Begin an empty map.

        Args:
            settings: see there.
            operator: finds out where pixels went.
            camera: of the rectified pictures.
            baseline: (7,) from the left camera's axes to the right one's, of stereo frames.
            measures_depth: whether the frames come with measured inverse depth.
            device: where the geometry is computed; the operator's.
            live: whether keyframes are taken in beside tracking.

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
        self._localiser = Localiser(operator, self._intrinsics)
        self._relocaliser = Relocaliser(self._localiser)
        self._mapper = Mapper(
            settings,
            operator,
            self._intrinsics,
            self._size,
            self._baseline,
            metric=measures_depth or baseline is not None,
            live=live,
        )
        self._executor: Executor = Beside("slam-mapping", _WAITING) if live else Inline()
        self._pace = Pace()
        self.postponed = self._next_id = 0
        self._pose = se3.identity(device)
        self._odometry_of_map = se3.identity(device)
        self._stamp: int | None = None
        self._ended_maps: list[Trajectory] = []
        self._placed = True
        self._begin_with(self._mapper.snapshot)

    def track(self, frame: Frame, arrived: float | None = None) -> Estimate:
        """Find out where a frame was taken from, and learn from it.

        A frame that is lost gets the last pose that was known.

        Args:
            frame: the next one.
            arrived: `time.monotonic()` when it came, of a camera that does not wait; see `Pace`.

        Raises:
            MessageError: the frame is older than the one before it, or of another size than the
                camera's; it was not looked at.
        """
        frame.check(self._camera, self._stamp)
        # What the tracker was not told to use it does not look at.
        frame = replace(
            frame,
            depth=frame.depth if self._measures_depth else None,
            right=None if self._baseline is None else frame.right,
        )
        self._deadline = self._pace.deadline(frame.stamp, arrived)
        view = self._operator.view(frame)
        if self._mapper.correction_waits and self._executor.idle:
            self._executor.give(self._mapper.correct)
        self._learn()
        # Measured depth locates pictures even by a first keyframe that is still to be taken in.
        follows = self.known.started or (self._measures_depth and bool(self.known))
        estimate = (self._follow if follows else self._initialise)(frame, view)
        if self.known and estimate.health is not Health.LOST:
            self._log.add(frame.stamp, self.known, self._pose)
        self._stamp = frame.stamp
        return estimate

    def saved_map(self, camera: MapCamera, world: NDArray[np.float64]) -> SavedMap:
        """Return what a later run needs of the map; waits until the keyframes are taken in.

        Args:
            camera: that the tracker follows.
            world: (4, 4) from the tracker's world to the robot's map frame.

        Raises:
            SettingError: there is no map yet.
        """
        self._executor.wait()
        if self._mapper.first_map is None:
            message = "there is no map yet: it begins with the first image that can be tracked"
            raise SettingError(message)
        return SavedMap.of(self._mapper.keyframes, camera, world)

    def continue_in(self, saved: SavedMap) -> None:
        """Go on in a map that was saved with this camera, and forget the present one.

        Where in it the camera is, is not known before a picture is recognised: until then it is
        lost. The odometry stays where it is.

        Raises:
            SettingError: the map has more keyframes than are kept in memory.
        """
        most, device = self._settings.max_keyframes, self._pose.device
        keyframes = saved.keyframes(self._operator, most, device)
        self._executor.wait()
        self._ended_maps.clear()
        self._mapper.begin_map(keyframes)
        self._next_id = keyframes.next_id
        self._begin_with(self._mapper.snapshot)
        for row, frame in enumerate(keyframes.pictures):
            self._relocaliser.remember(keyframes.ids[: row + 1], frame)
        self._placed = False

    def close(self) -> None:
        """End the threads."""
        self._executor.close()
        self._mapper.close()

    def finish(self) -> None:
        """Refine the whole map once more, with nothing left to track, and close."""
        self._executor.wait()
        self._mapper.finish()
        self._learn()
        self.close()

    def trajectory(self) -> Trajectory:
        """Return the poses of all frames that were not lost, camera to map, as now known.

        Where a map was given up and a new one begun, the new one begins at the last known pose.
        Waits until the keyframes are taken in.
        """
        self._executor.wait()
        self._learn()
        parts = [*self._ended_maps, Trajectory(*self._log.poses(self._mapper.keyframes))]
        return Trajectory(
            np.concatenate([part.stamps for part in parts]),
            np.concatenate([part.poses for part in parts]),
        )

    def points(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return what `map_points` makes of the keyframes; waits until they are taken in."""
        self._executor.wait()
        return map_points(self._mapper.keyframes, self._intrinsics)

    def show(self, look: Callable[[Keyframes, Tensor], None]) -> None:
        """Call `look` with the keyframes and the maps' intrinsics, where and when none changes.

        A live tracker does so later, in the thread that takes keyframes in.
        """
        self._executor.give(lambda: look(self._mapper.keyframes, self._intrinsics))

    def _begin_with(self, empty: Snapshot) -> None:
        self.known = self._learnt = empty
        self._log = TrajectoryLog()
        self._uncertainty = Uncertainty()
        self._motion = se3.identity(self._pose.device)
        self._missed = self._unrecognised = 0

    def _give_up_map(self) -> None:
        self._executor.wait()
        self._learn()
        if self.known.started:
            self._ended_maps.append(Trajectory(*self._log.poses(self._mapper.keyframes)))
        self._mapper.begin_map()
        self._begin_with(self._mapper.snapshot)

    def _learn(self) -> None:
        """Go on with what mapping has made of the map; the odometry stays where it is."""
        new, before = self._mapper.snapshot, self.known
        if new is self._learnt:
            return
        if new.number != before.number:  # it could not be started
            self._begin_with(new)
        self._learnt = new
        self.known = new.with_pending_of(before)
        first_map = self._mapper.first_map
        followed = before.started or self._measures_depth
        if new.started and not followed and first_map is not None:
            self._log.interpolate(first_map)
            self._pose = self.known.poses[-1]
            return
        self._correct_pose(new.carry(self._pose, before))

    def _correct_pose(self, pose: Tensor) -> None:
        """Let the camera be elsewhere in the map, and the odometry where it is."""
        moved = se3.compose(se3.inverse(self._pose), pose)
        self._odometry_of_map = se3.compose(self._odometry_of_map, moved)
        self._pose = pose

    def _initialise(self, frame: Frame, view: View) -> Estimate:
        known, settings = self.known, self._settings
        if not known:
            taken = self._shows_something(frame, view) and self._add_keyframe(frame, view)
            return self._estimate(frame, Health.INITIALISING, keyframe=taken)
        motion = self._localiser.motion(known.views[-1], view, self._size)
        if motion.confidence <= settings.least_confidence:
            return self._miss(frame, view, Health.INITIALISING, motion.confidence)
        self._missed = self._unrecognised = 0
        moved = motion.flow > settings.motion_threshold and self._add_keyframe(frame, view)
        return self._estimate(
            frame, Health.INITIALISING, keyframe=moved, confidence=motion.confidence
        )

    def _shows_something(self, frame: Frame, view: View) -> bool:
        """Whether a map can begin with this frame, and tell how far that is."""
        measured = frame.disp
        if self._measures_depth and (
            measured is None or (measured > 0).float().mean() < _LEAST_DEPTH
        ):
            return False
        if self._baseline is not None and view.right is None:
            return False
        seen = self._localiser.motion(view, view, self._size).confidence
        return seen > self._settings.least_confidence

    def _follow(self, frame: Frame, view: View) -> Estimate:
        known = self.known
        soon = self._stamp is not None and frame.stamp - self._stamp < _SOON
        moves_on = soon and not self._missed
        guess = se3.compose(self._motion, self._pose) if moves_on else self._pose
        near = None
        if self._placed:
            rows = known.landmarks()[-_NEIGHBOURS:]
            near = self._localiser.follow(view, guess, known, rows, deadline=self._deadline)
        if near is not None and near.is_good(self._settings.least_confidence):
            partner, found = None, near
        elif (again := self._relocaliser.search(frame, view, known)) is not None:
            partner, found = again
        else:
            return self._miss(frame, view, Health.LOST, near.confidence if near else 0.0)
        pose = found.located.pose
        if not self._placed:
            self._correct_pose(pose)
            self._placed = True
        steady = moves_on and partner is None
        self._motion = (
            se3.compose(pose, se3.inverse(self._pose)) if steady else se3.identity(pose.device)
        )
        self._pose = pose
        self._missed = self._unrecognised = 0
        motion, settings = found.motion, self._settings
        # Of a keyframe that is out of view, the flow says nothing.
        unseen = motion.confidence <= settings.least_confidence
        apart = self._measures_depth * _APART * settings.keyframe_threshold
        new = unseen or motion.flow > max(settings.motion_threshold, apart) or partner is not None
        anchor = len(known) - 1 if partner is None else partner
        relative = se3.compose(pose, se3.inverse(known.poses[anchor]))
        covariance = self._uncertainty.of(found.located.covariance, relative, known.ids[anchor])
        return self._estimate(
            frame,
            Health.TRACKING,
            keyframe=new
            and self._add_keyframe(frame, view, partner, covariance, anywhere=found.anywhere),
            confidence=found.confidence,
            covariance=covariance,
        )

    def _miss(self, frame: Frame, view: View, health: Health, confidence: float) -> Estimate:
        """Nothing known was recognised; after too many pictures of something else a map begins.

        A dark one is of nothing, and no map begins in the place of a saved one in which the camera
        was never found: where its poses would be in that one is not known.
        """
        self._missed += 1
        self._unrecognised += self._placed and self._shows_something(frame, view)
        if self._unrecognised > self._settings.patience:
            self._give_up_map()
        return self._estimate(frame, health, keyframe=False, confidence=confidence)

    def _add_keyframe(
        self,
        frame: Frame,
        view: View,
        partner: int | None = None,
        covariance: Tensor | None = None,
        *,
        anywhere: bool = False,
    ) -> bool:
        """Have a frame taken in, with row `partner` beside those before it; False if that waits."""
        known, pose = self.known, self._pose
        # One without a depth of its own locates nothing yet: the next picture would be one, too.
        begins = not known.started and self._baseline is None
        blind = known.pending and not (self._measures_depth or begins)
        if blind or not self._executor.has_room:
            self.postponed += 1
            return False
        candidate = Candidate(
            self._next_id,
            frame,
            view,
            known.ids[-1] if known else None,
            se3.compose(pose, se3.inverse(known.poses[-1])) if known else pose,
            known.scales[-1] if known else 1.0,
            None if partner is None else known.ids[partner],
            anywhere,
        )
        self._next_id += 1
        self.known = known.extended(candidate.identity, frame.stamp, pose, frame.disp, view)
        self._relocaliser.remember(self.known.ids, frame)
        if covariance is not None:
            self._uncertainty.remember(self.known.ids, covariance)
        self._executor.give(partial(self._mapper.take_in, candidate, self._executor.behind))
        self._learn()
        return True

    def _estimate(
        self,
        frame: Frame,
        health: Health,
        *,
        keyframe: bool,
        confidence: float = 0.0,
        covariance: Tensor | None = None,
    ) -> Estimate:
        pose = se3.inverse(self._pose)
        return Estimate(
            stamp=frame.stamp,
            odometry=se3.compose(self._odometry_of_map, pose),
            pose=pose,
            covariance=pose.new_full((6, 6), torch.inf) if covariance is None else covariance,
            confidence=confidence,
            health=health,
            keyframe=keyframe,
        )
