"""Colour and depth in, action out: what a robot without ROS would call."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from compressed_grasp.arm_mask import arm_cells
from compressed_grasp.attempts import Attempts
from compressed_grasp.heightmap import height_map
from compressed_grasp.q_policy import CELL, PUSH_BELOW, SIDE, QPolicy
from compressed_grasp.rectification import Rectifier
from compressed_grasp.workspace import Workspace
from edge_runtime.common_settings import MODE, ON_REQUEST
from edge_runtime.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from compressed_grasp.action import Action
    from compressed_grasp.heightmap import HeightMap
    from compressed_grasp.q_policy import Decision, Run
    from edge_runtime.bundle import Bundle
    from edge_runtime.calibration import Calibration
    from edge_runtime.latency import Stopwatch


@dataclass(frozen=True)
class View:
    """A camera's images, with all that is known of them.

    Attributes:
        color: (h, w, 3) uint8 in any channel order.
        depth: (h, w) float32 metres, registered to the colour; NaN or 0 where unseen.
        camera: of both.
        camera_pose: (4, 4) from the optical frame to the workspace frame.
        stamp: when they were taken [s].
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    camera: Calibration
    camera_pose: NDArray[np.float64]
    stamp: float


@dataclass(frozen=True)
class Settings:
    """What the user says of table and policy; the parameters of the node, in their words.

    Attributes:
        workspace_x: middle of the workspace in its frame [m].
        workspace_y: middle of the workspace in its frame [m].
        workspace_size: its side [m], at most 0.448.
        table_height: z of the table's surface in the workspace frame [m].
        push_below: see `QPolicy`.
        min_q: what is worth less is not done.
        min_coverage: share of the workspace that must have been seen.
        max_object_height: see `QPolicy` [m].
        arm_radius: what is kept clear of about the arm's keypoints and the lines between [m].
        patience: see `Attempts`.
    """

    workspace_x: float = 0.0
    workspace_y: float = 0.0
    workspace_size: float = CELL * SIDE
    table_height: float = 0.0
    push_below: float = PUSH_BELOW
    min_q: float = 0.0
    min_coverage: float = 0.2
    max_object_height: float = 0.2
    arm_radius: float = 0.08
    patience: float = 0.0

    @classmethod
    def of_parameters(cls, values: Mapping[str, Any]) -> Settings:
        """Read the node's parameters, of which those of other uses may be among `values`."""
        known = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        # A client asks for the next action when it has carried out the last one.
        asked = values[MODE.name] == ON_REQUEST
        return cls(**known, patience=0.0 if asked else values["retry_after"])

    @property
    def workspace(self) -> Workspace:
        """In cells as the network knows them."""
        cells = min(max(round(self.workspace_size / CELL), 1), SIDE)
        return Workspace.square(
            cells,
            size=cells * CELL,
            centre=(self.workspace_x, self.workspace_y),
            table=self.table_height,
        )


class GraspPlanner:
    """Decides on the next action, and remembers which have just changed nothing."""

    def __init__(self, run: Run, settings: Settings) -> None:
        """Serve a network; see `QPolicy`."""
        self.workspace = settings.workspace
        self._policy = QPolicy(
            run,
            push_below=settings.push_below,
            min_q=settings.min_q,
            min_coverage=settings.min_coverage,
            max_object_height=settings.max_object_height,
        )
        self._arm_radius = settings.arm_radius
        self._attempts = Attempts(settings.patience)
        self._rectify = Rectifier()

    @classmethod
    def from_bundle(cls, bundle: Bundle, run: Run, settings: Settings) -> GraspPlanner:
        """Serve a bundle with the engine `run` that was opened for it.

        Raises:
            BundleError: its network is none that a `QPolicy` can ask.
        """
        model = bundle.manifest.model
        found: Mapping[str, Any] = {spec.name: spec.shape for spec in model.inputs + model.outputs}
        expected = {"height": (1, 1, SIDE, SIDE), "q": (1, 32, SIDE, SIDE)}
        if found != expected:
            message = (
                f"bundle '{bundle.path}': the network has {found}, expected is {expected}; choose "
                "a bundle that a grasp recipe made"
            )
            raise BundleError(message)
        return cls(run, settings)

    def reset(self) -> None:
        """Forget what was chosen before."""
        self._attempts.forget()

    def look(self, view: View) -> HeightMap:
        """Project a view onto the table."""
        color, depth = self._rectify(view.color, view.depth, view.camera)
        return height_map(color, depth, view.camera.matrix, view.camera_pose, self.workspace)

    def decide(
        self,
        seen: HeightMap,
        stamp: float,
        stopwatch: Stopwatch | None = None,
        arm: NDArray[np.float64] | None = None,
    ) -> Decision:
        """Choose what to do about what was seen at `stamp` [s].

        `stopwatch` gets the stages "engine" and "choice". `arm`: (n, 3) the keypoints of the
        robot's arm in the workspace frame [m], which is kept clear of.
        """
        kept_clear = None if arm is None else arm_cells(arm, self._arm_radius, self.workspace)
        useless = self._attempts.useless(seen, self.workspace, stamp)
        return self._policy.decide(seen, self.workspace, useless, stopwatch, kept_clear)

    def chose(self, action: Action | None, seen: HeightMap, stamp: float) -> None:
        """Remember what was told to the robot."""
        self._attempts.chose(action, seen, stamp)
