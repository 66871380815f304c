"""The `slam` node: camera images in, where the camera is out."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from compressed_slam.droid_operator import DroidOperator
from compressed_slam.engines import EngineNetworks
from compressed_slam.estimate import Health
from compressed_slam.interface import (
    IMAGE,
    IMAGES_OF_MODE,
    LOAD_MAP,
    ODOMETRY,
    PATH,
    POINTS,
    POSE,
    SAVE_MAP,
    SLAM,
)
from compressed_slam.location import warm_up
from compressed_slam.map_files import read_map, write_map
from compressed_slam.map_points import map_points
from compressed_slam.messages import odometry_message, path_message, points_message, pose_message
from compressed_slam.rig import Rig
from compressed_slam.robot_frames import Placed, RobotFrames
from compressed_slam.saved_map import MapCamera
from compressed_slam.settings import preset
from compressed_slam.tracker import Tracker
from edge_runtime.camera_poses import Broadcaster
from edge_runtime.diagnostics import Condition
from edge_runtime.errors import MessageError, SettingError
from edge_runtime.folders import expand_user
from edge_runtime.node import SkillNode
from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch import Tensor

    from compressed_slam.estimate import Estimate
    from compressed_slam.keyframes import Keyframes
    from compressed_slam.matching import Operator
    from compressed_slam.saved_map import SavedMap
    from edge_runtime.bundle import Bundle
    from edge_runtime.calibration import Calibration
    from edge_runtime.engine import Engine
    from edge_runtime.frame import CameraFrame
    from edge_runtime.latency import Stopwatch
    from edge_runtime.services import Handler

_SECOND = 1_000_000_000


class Located(NamedTuple):
    """Where a picture was taken from: as the tracker says, and in the robot's frames."""

    estimate: Estimate
    placed: Placed


class SlamNode(SkillNode[Located]):
    """Tells where a camera is, and maps what it sees."""

    interface = SLAM

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        """See `SkillNode`."""
        self._tracker: Tracker | None = None
        self._last: Estimate | None = None
        self._rig: Rig | None = None
        self._to_load: SavedMap | None = None
        super().__init__(**options)
        self._broadcaster = Broadcaster(self)

    def load(self, bundle: Bundle, engines: Mapping[str, Engine]) -> None:
        """Make the operator."""
        [[_, _, *self._size]] = bundle.manifest.models["fnet"].examples[0].values()
        self._settings = preset(
            self.parameters["preset"], depth_weight=self.parameters["depth_weight"]
        )
        if threads := self.parameters["threads"]:
            torch.set_num_threads(threads)  # of the geometry, as of each network
        self._operator = self.operator(engines)

    def operator(self, engines: Mapping[str, Engine]) -> Operator:
        """Return what finds out where pixels went."""
        operator = DroidOperator(EngineNetworks({name: one.run for name, one in engines.items()}))
        height, width = self._size
        operator.warm_up(width, height)
        warm_up()
        return operator

    def unload(self) -> None:
        """Let go of the map and the networks."""
        self.reset()
        with suppress(AttributeError):  # after a failed load
            del self._operator

    def reset(self) -> None:
        """Begin anew: an empty map, where the next image was taken."""
        self._to_load = None
        self._close_tracker()

    def _close_tracker(self) -> None:
        tracker, self._tracker, self._last = self._tracker, None, None
        if tracker is not None:
            tracker.close()

    def wanted_images(self) -> Collection[str]:
        """Those of the camera mode."""
        return IMAGES_OF_MODE[self.parameters["camera_mode"]]

    def handlers(self) -> Mapping[str, Handler]:
        """Save the map, and load one."""
        return {SAVE_MAP.name: self._save_map, LOAD_MAP.name: self._load_map}

    def process(self, frame: CameraFrame, stopwatch: Stopwatch) -> Located:
        """Track one image."""
        stamp = frame.header.stamp.sec * _SECOND + frame.header.stamp.nanosec
        try:
            tracker, rig = self._tracker_for(frame)
            if self._to_load is not None:
                self._continue_in(self._to_load)
                self._to_load = None
            with stopwatch.stage("rectify"):
                taken = rig.frame(stamp, frame.images)
        except SettingError as error:
            raise MessageError(str(error), "camera") from error
        with stopwatch.stage("track"):
            estimate = tracker.track(taken, frame.received)
        self._last = estimate
        return Located(estimate, self._frames.place(estimate))

    def publish(self, frame: CameraFrame, result: Located) -> None:
        """Publish the poses of every image, and the map with a keyframe's, where it is watched."""
        stamp, placed = frame.header.stamp, result.placed
        map_frame, odom = self.parameters["map_frame"], self.parameters["odom_frame"]
        child = self.parameters["base_frame"] or frame.header.frame_id
        self.outputs[ODOMETRY].publish(
            odometry_message(stamp, odom, child, placed.in_odom, placed.odom_covariance)
        )
        self.outputs[POSE].publish(
            pose_message(stamp, map_frame, placed.in_map, placed.map_covariance)
        )
        if self.parameters["publish_tf"]:
            self._broadcaster.send(stamp, map_frame, odom, placed.odom_in_map)
            self._broadcaster.send(stamp, odom, child, placed.in_odom)
        if result.estimate.keyframe:
            self._publish_map(stamp, map_frame)

    def condition(self) -> Condition:
        """Tell the health of tracking, and of the map."""
        last, tracker = self._last, self._tracker
        if last is None or tracker is None:
            return Condition(values={"tracking": "no image yet"})
        warning = "the camera is lost: its pose is not known" if last.health is Health.LOST else ""
        values = {
            "tracking": last.health.value,
            "confidence of matches": f"{last.confidence:.2f}",
            "keyframes in memory": str(len(tracker.known)),
            "keyframes waiting": str(tracker.known.pending),
            "keyframes postponed": str(tracker.postponed),
        }
        return Condition(warning, values)

    def _tracker_for(self, frame: CameraFrame) -> tuple[Tracker, Rig]:
        """Return the tracker of the frame's cameras and these; new ones where they have changed."""
        mode = self.parameters["camera_mode"]
        topics = (IMAGE,) if mode == "rgbd" else IMAGES_OF_MODE[mode]
        calibrations = {
            topic: frame.calibration[topic] for topic in topics if topic in frame.calibration
        }
        rig = self._rig
        if self._tracker is not None and rig and not _differ(rig.calibrations, calibrations):
            return self._tracker, rig
        if missing := set(topics) - set(calibrations):
            raise _incomplete(min(missing), frame)
        if self._tracker is not None:
            self.get_logger().warning("the camera info has changed: a new map begins")
        base = self.parameters["base_frame"]
        rig = Rig(mode, calibrations, math.prod(self._size))
        in_base = self.camera_poses.at(frame.header, base) if base else None
        frames = RobotFrames(in_base, rig.rotation)
        tracker = Tracker(
            self._settings,
            self._operator,
            rig.camera,
            baseline=rig.baseline,
            measures_depth=rig.measures_depth,
            live=True,
        )
        self._close_tracker()
        self._rig, self._frames, self._tracker = rig, frames, tracker
        return tracker, rig

    def _continue_in(self, saved: SavedMap) -> None:
        """Have the tracker go on in a map of its camera."""
        tracker, rig = self._tracker, self._rig
        if tracker is None or rig is None:
            return
        if not saved.camera.fits(camera := self._map_camera(rig)):
            message = (
                f"the map was made with {saved.camera}; now there is {camera}: load a map of this "
                "camera, or call ~/reset to begin an empty one"
            )
            raise SettingError(message)
        tracker.continue_in(saved)
        self._frames.world = saved.world

    def _map_camera(self, rig: Rig) -> MapCamera:
        return MapCamera.of(self.parameters["camera_mode"], rig.camera, rig.baseline)

    def _publish_map(self, stamp: Any, map_frame: str) -> None:  # noqa: ANN401
        path, points, frames = self.outputs[PATH], self.outputs[POINTS], self._frames
        watched = [output for output in (path, points) if output.get_subscription_count()]
        if self._tracker is None or not watched:
            return

        def look(keyframes: Keyframes, intrinsics: Tensor) -> None:
            if path in watched:
                known = keyframes.trajectory()
                poses = frames.cameras(known.matrices())
                path.publish(path_message(stamp, map_frame, known.stamps.tolist(), poses))
            if points in watched:
                places, colours = map_points(keyframes, intrinsics)
                placed = frames.points(places)
                points.publish(points_message(stamp, map_frame, placed, colours))

        self._tracker.show(look)

    def _save_map(self, _request: object, response: Any) -> None:  # noqa: ANN401
        tracker, rig = self._tracker, self._rig
        trajectory = None if tracker is None else tracker.trajectory()
        if tracker is None or rig is None or trajectory is None or not len(trajectory):
            message = "there is no map yet: it begins with the first image that can be tracked"
            raise SettingError(message)
        folder, frames = expand_user(self.parameters["map_folder"]), self._frames
        saved = tracker.saved_map(self._map_camera(rig), frames.world)
        points, colours = tracker.points()
        placed = Trajectory.from_matrices(trajectory.stamps, frames.cameras(trajectory.matrices()))
        write_map(folder, placed, frames.points(points), colours, saved)
        response.message = (
            f"{len(placed)} poses, {len(points)} points and {len(saved)} keyframes in {folder}"
        )

    def _load_map(self, _request: object, response: Any) -> None:  # noqa: ANN401
        folder = expand_user(self.parameters["map_folder"])
        saved = read_map(folder)
        if self._tracker is None:
            self._to_load = saved
        else:
            self._continue_in(saved)
        response.message = (
            f"{len(saved)} keyframes of {folder}: the camera is looked for among them, beginning "
            "with the next image"
        )


def _incomplete(topic: str, frame: CameraFrame) -> MessageError:
    if topic in frame.images:
        message = (
            f"no usable camera info of {topic}: publish it, with K or P of images of this size, "
            "before the first image"
        )
        return MessageError(message, "no camera info")
    message = f"no {topic} came with the image: a stereo map begins with both, of the same stamp"
    return MessageError(message, f"no {topic}")


def _differ(known: Mapping[str, Calibration], now: Mapping[str, Calibration]) -> bool:
    """Whether a calibration that came says something else; one that is missing says nothing."""
    return any(
        topic in known and not _same(known[topic], calibration)
        for topic, calibration in now.items()
    )


def _same(one: Calibration, other: Calibration) -> bool:
    if one is other:
        return True
    mine, theirs = (
        (each.matrix, each.distortion, each.rotation, each.projection) for each in (one, other)
    )
    return (one.width, one.height, one.model) == (other.width, other.height, other.model) and all(
        (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))
        for a, b in zip(mine, theirs, strict=True)
    )
