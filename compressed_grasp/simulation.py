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
        *,
        colored: bool = True,
    ) -> None:
        """Take the world as it is; `rng` (left out: seed 0) draws the camera's faults.

        Not `colored`, pictures are black, and made in half the time.
        """
        self.world = world
        self._camera = camera
        self._workspace = workspace
        self._faults = faults
        self._colored = colored
        self._rng = np.random.default_rng(0) if rng is None else rng
        self._pose_error = draw_pose_error(faults, self._rng)

    @property
    def remaining(self) -> int:
        """How many objects lie in the workspace."""
        return int(self.world.in_workspace(HALF_WORKSPACE).sum())

    def observe(self) -> HeightMap:
        """Take a picture and project it."""
        picture = take_picture(
            self.world,
            self._camera,
            self._faults,
            self._rng,
            self._pose_error,
            colored=self._colored,
        )
        return map_picture(picture, self._workspace)

    def execute(self, action: Action) -> Outcome:
        """Carry out an action."""
        before = self.truth()
        grasped = self.attempt(action)
        return Outcome(grasped, changed(before, self.truth(), self._workspace))

    def attempt(self, action: Action) -> bool:
        """Carry out an action; return only whether an object was grasped."""
        if action.kind == "grasp":
            return self.world.grasp(action.waypoints[1], action.angle).success
        begin, end = action.waypoints[1:3]
        self.world.push(begin, action.angle, float(np.linalg.norm(end - begin)))
        return False

    def truth(self) -> HeightMap:
        """Return what a perfect camera sees from above, without colour."""
        return map_picture(take_picture(self.world, _ABOVE, colored=False), self._workspace)
