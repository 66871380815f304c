"""The learned policy: height map to Q map, and of its actions the best that is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from compressed_grasp.action import ANGLES, PUSH_LENGTH, Action, plan, push_heights
from compressed_grasp.failures import bar_repetitions, confidence
from compressed_grasp.policies import OBJECT_HEIGHT
from edge_runtime.latency import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from compressed_grasp.action import Kind
    from compressed_grasp.heightmap import HeightMap
    from compressed_grasp.workspace import Workspace

    Run = Callable[[Mapping[str, NDArray[np.float32]]], Mapping[str, NDArray[np.float32]]]
    """Runs the network on "height"; returns "q"."""

PUSH_BELOW = 0.45
"""Grasps that are worth this much are done before any push (a rule of DIPN, Huang et al. 2021).

A grasp that succeeds with probability p takes 1 / p actions; a push, and after it a grasp of .85,
take 1 + 1 / .85: less only where p is below .46.
"""
CELL = 0.004
"""Side of a cell that the network was trained with [m]."""
SIDE = 112
"""Cells along each side of the network's input."""

_LEAST_NEIGHBOURS = 4  # of the 3x3 cells about one of an object; fewer are noise or flying pixels
_MOST_COVERED = 0.9  # of what is seen, by objects; more is a table of another height
_MET_BY = 0.005  # metres from the fingertips up, of an object that a push meets
_FROM_BORDER = 0.06  # metres from the border where a push ends; what it pushes stays inside
_STEP = 0.05  # metres between cells that are not of one thing
_KEPT_CLEAR = 0.03  # metres about an obstacle


@dataclass(frozen=True)
class Decision:
    """What to do about what was seen.

    Attributes:
        action: None where there is nothing to do.
        q: (32, rows, columns) as in `QPolicy`; zeros where the network was not asked.
        value: Q of the action, 0..1; of the best that was allowed where that is too low.
        reason: why there is nothing to do; "" where there is.
    """

    action: Action | None
    q: NDArray[np.float32]
    value: float
    reason: str


class QPolicy:
    """A `policies.Policy` that does what its network values most, of what is allowed.

    The network takes `height` (1, 1, 112, 112) float32, metres above the table, 0 where unseen,
    and gives `q` (1, 32, 112, 112): the expected discounted grasp success, 0..1, of a push that
    begins in the cell (channel k: along k * 22.5 degrees), and of a grasp about its middle (16 + k:
    jaws across k * 22.5 degrees).

    Never allowed are actions in cells that were not seen, grasps where no object is, pushes that
    meet none or would push it out of the workspace, and repetitions of what has just changed
    nothing.
    """

    def __init__(
        self,
        run: Run,
        *,
        push_below: float = PUSH_BELOW,
        min_q: float = 0.0,
        min_coverage: float = 0.0,
        max_object_height: float = np.inf,
    ) -> None:
        """Serve a network.

        Args:
            run: of the network.
            push_below: pushes are chosen only where the best grasp is worth less; 0: never.
            min_q: what is worth less is not done.
            min_coverage: share of the cells that must have been seen.
            max_object_height: what reaches higher above the table [m] is an obstacle, such as the
                arm or a frame: no action begins or passes within 30 mm of it.
        """
        self._run = run
        self._push_below = push_below
        self._min_q = min_q
        self._min_coverage = min_coverage
        self._max_object_height = max_object_height

    def __call__(
        self,
        seen: HeightMap,
        workspace: Workspace,
        rng: np.random.Generator,
        useless: Sequence[Action],
    ) -> Action | None:
        """Return the best action; None where there is nothing to do."""
        del rng
        return self.decide(seen, workspace, useless).action

    def decide(
        self,
        seen: HeightMap,
        workspace: Workspace,
        useless: Sequence[Action] = (),
        stopwatch: Stopwatch | None = None,
        kept_clear: NDArray[np.bool_] | None = None,
    ) -> Decision:
        """Choose an action.

        Args:
            seen: at most `SIDE` by `SIDE` cells of about `CELL`.
            workspace: of `seen`.
            useless: the actions since the last that changed the scene.
            stopwatch: gets the stages "engine" and "choice".
            kept_clear: cells (rows, columns) that are obstacles besides.
        """
        clock = stopwatch or Stopwatch()
        nothing = np.zeros((2 * ANGLES, *seen.height.shape), np.float32)
        if not seen.coverage or seen.coverage < self._min_coverage:
            reason = (
                f"too few cells seen: {seen.coverage:.0%} of the workspace, at least "
                f"{self._min_coverage:.0%} is wanted"
            )
            return Decision(None, nothing, 0.0, reason)
        higher = object_cells(seen)
        covered = np.count_nonzero(higher) / np.count_nonzero(~np.isnan(seen.height))
        obstacles = obstacle_cells(seen, higher, self._max_object_height, workspace)
        if kept_clear is not None:
            obstacles = obstacles | kept_clear
        objects = higher & ~obstacles
        if not objects.any():
            reason = f"empty: nothing to clear is higher than {OBJECT_HEIGHT * 1000:g} mm"
            return Decision(None, nothing, 0.0, reason)
        if covered > _MOST_COVERED:
            reason = (
                f"no table: {covered:.0%} of what is seen is higher than "
                f"{OBJECT_HEIGHT * 1000:g} mm; check camera pose and table height"
            )
            return Decision(None, nothing, 0.0, reason)
        with clock.stage("engine"):
            q = self.q_map(seen)
        with clock.stage("choice"):
            allowed = allowed_actions(seen, objects, workspace, useless, obstacles)
            believed = q if not useless else q * confidence(q.shape, useless, workspace)
            return self._choose(q, believed, allowed, seen, workspace)

    def _choose(
        self,
        q: NDArray[np.float32],
        believed: NDArray[np.float32],
        allowed: NDArray[np.bool_],
        seen: HeightMap,
        workspace: Workspace,
    ) -> Decision:
        # What is not finite is not worth anything.
        worth = np.where(allowed & np.isfinite(believed), believed, -1)
        if max(worth[ANGLES:].max(), 0) >= self._push_below:
            allowed[:ANGLES], worth[:ANGLES] = False, -1
        channel, row, column = (int(k) for k in np.unravel_index(worth.argmax(), worth.shape))
        if worth[channel, row, column] < 0:
            reason = (
                "the network gave no finite Q"
                if allowed.any()
                else "nothing left to try: what is allowed has just changed nothing"
            )
            return Decision(None, q, 0.0, reason)
        value = float(q[channel, row, column])
        if value < self._min_q:
            reason = f"no action is worth it: the best Q is {value:.3f}, below {self._min_q:g}"
            return Decision(None, q, value, reason)
        kind: Kind = "push" if channel < ANGLES else "grasp"
        action = plan(kind, (row, column), channel % ANGLES, seen, workspace)
        return Decision(action, q, value, "")

    def q_map(self, seen: HeightMap) -> NDArray[np.float32]:
        """Ask the network; (32, rows, columns)."""
        rows, columns = seen.height.shape
        height = np.zeros((1, 1, SIDE, SIDE), np.float32)
        height[0, 0, :rows, :columns] = np.nan_to_num(seen.height)
        q: NDArray[np.float32] = self._run({"height": height})["q"][0, :, :rows, :columns]
        return q


def object_cells(seen: HeightMap) -> NDArray[np.bool_]:
    """Cells (rows, columns) that objects cover; what is seen in one alone is noise."""
    with np.errstate(invalid="ignore"):
        higher = (seen.height > OBJECT_HEIGHT).astype(np.uint8)
    around = cv2.boxFilter(higher, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    covered: NDArray[np.bool_] = (higher > 0) & (around >= _LEAST_NEIGHBOURS)
    return covered


def obstacle_cells(
    seen: HeightMap, higher: NDArray[np.bool_], limit: float, workspace: Workspace
) -> NDArray[np.bool_]:
    """Cells (rows, columns) of what reaches above `limit` [m], and those near to it.

    A thing goes on to its lower rim, but not over a step: what lies below an arm is no part of it.
    `higher`: `object_cells` of the height map.
    """
    height = np.nan_to_num(seen.height)
    tall = higher & (height > limit)
    if not tall.any():
        return tall
    window = np.ones((3, 3), np.uint8)
    highest = cv2.dilate(height, window)
    lowest = cv2.erode(np.where(np.isnan(seen.height), highest, height), window)
    smooth = higher & (highest - lowest < _STEP)
    count, labels = cv2.connectedComponents(smooth.astype(np.uint8))
    is_tall = np.zeros(count, bool)
    is_tall[labels[tall & smooth]] = True
    tall |= is_tall[labels]
    reach = round(_KEPT_CLEAR / workspace.resolution)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    near: NDArray[np.bool_] = cv2.dilate(tall.astype(np.uint8), disc) > 0
    return near


def allowed_actions(
    seen: HeightMap,
    objects: NDArray[np.bool_],
    workspace: Workspace,
    useless: Sequence[Action] = (),
    obstacles: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Which actions may be done, (32, rows, columns) as `QPolicy` has them.

    Args:
        seen: the height map.
        objects: cells of what is to be cleared.
        workspace: of the height map.
        useless: actions that are not to be repeated.
        obstacles: cells that are to be kept clear of; left out: none.
    """
    known = ~np.isnan(seen.height)
    allowed = np.empty((2 * ANGLES, *known.shape), bool)
    heights = np.where(objects, seen.height, np.float32(0))
    least = push_heights(seen, workspace) + np.float32(_MET_BY)
    barred = None
    if obstacles is not None and obstacles.any():
        barred = obstacles.astype(np.uint8)
    ends_inside = _push_ends_inside(known.shape, workspace.resolution)
    for k, path in enumerate(_push_paths(workspace.resolution)):
        # The highest that a push from here passes.
        allowed[k] = known & ends_inside[k] & (cv2.dilate(heights, path) > least)
        if barred is not None:
            allowed[k] &= cv2.dilate(barred, path) == 0
    allowed[ANGLES:] = objects
    bar_repetitions(allowed, useless, workspace)
    return allowed


@lru_cache(maxsize=8)
def _push_ends_inside(shape: tuple[int, int], resolution: float) -> NDArray[np.bool_]:
    """Pushes (16, rows, columns) that end so far from the border that objects stay inside."""
    angles = 2 * np.pi * np.arange(ANGLES) / ANGLES
    inside = np.ones((ANGLES, *shape), bool)
    for axis, way in ((0, np.sin(angles)), (1, np.cos(angles))):
        end = np.arange(shape[axis]) + 0.5 + way[:, None] * PUSH_LENGTH / resolution
        margin = _FROM_BORDER / resolution
        within = (end >= margin) & (end <= shape[axis] - margin)
        inside &= np.expand_dims(within, 2 - axis)
    return inside


@lru_cache(maxsize=8)
def _push_paths(resolution: float) -> tuple[NDArray[np.uint8], ...]:
    """For each angle the cells that a push passes, (n, n) with its beginning in the middle."""
    reach = round(PUSH_LENGTH / resolution)
    paths = []
    for k in range(ANGLES):
        path = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
        angle = 2 * np.pi * k / ANGLES
        end = round(reach + reach * np.cos(angle)), round(reach + reach * np.sin(angle))
        cv2.line(path, (reach, reach), end, 1)
        paths.append(path)
    return tuple(paths)
