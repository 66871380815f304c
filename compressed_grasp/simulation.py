"""The simulated table as the routine and the trainer see it; not for the robot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compressed_grasp.heightmap import height_map
from compressed_grasp.routine import Outcome, changed
from edge_worlds.tabletop.camera import (
    PERFECT,
    draw_pose_error,
    oblique_camera,
    take_picture,
)
from edge_worlds.tabletop.scene import HALF_WORKSPACE

if TYPE_CHECKING:
    from compressed_grasp.action import Action
    from compressed_grasp.heightmap import HeightMap
    from compressed_grasp.workspace import Workspace
    from edge_worlds.camera import Camera
    from edge_worlds.tabletop.camera import CameraFaults, Picture
    from edge_worlds.tabletop.world import TabletopWorld


_ABOVE = oblique_camera(160, 160, eye=(0.0, 0.0, 0.6))


def map_picture(picture: Picture, workspace: Workspace) -> HeightMap:
    """Project a picture, with the camera pose as it is believed."""
    return height_map(picture.color, picture.depth, picture.matrix, picture.camera_pose, workspace)


class SimulatedTable:
    """A `routine.Table`: a world, a camera that looks at it, and a gripper."""

    def __init__(
        self,
        world: TabletopWorld,
        camera: Camera,
        workspace: Workspace,
        faults: CameraFaults = PERFECT,
        rng: np.random.Generator | None = None,
    ) -> None:
        """Take the world as it is; `rng` (left out: seed 0) draws the camera's faults."""
        self.world = world
        self._camera = camera
        self._workspace = workspace
        self._faults = faults
        self._rng = np.random.default_rng(0) if rng is None else rng
        self._pose_error = draw_pose_error(faults, self._rng)

    @property
    def remaining(self) -> int:
        """How many objects lie in the workspace."""
        return int(self.world.in_workspace(HALF_WORKSPACE).sum())

    def observe(self) -> HeightMap:
        """Take a picture and project it."""
        picture = take_picture(self.world, self._camera, self._faults, self._rng, self._pose_error)
        return map_picture(picture, self._workspace)

    def execute(self, action: Action) -> Outcome:
        """Carry out an action."""
        before = self._truth()
        grasped = False
        if action.kind == "grasp":
            grasped = self.world.grasp(action.waypoints[1], action.angle).success
        else:
            begin, end = action.waypoints[1:3]
            self.world.push(begin, action.angle, float(np.linalg.norm(end - begin)))
        return Outcome(grasped, changed(before, self._truth(), self._workspace))

    def _truth(self) -> HeightMap:
        """Height map of a perfect view from above."""
        return map_picture(take_picture(self.world, _ABOVE), self._workspace)
