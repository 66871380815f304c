"""VPG's test routine: clear a table, action by action, and say how well that went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compressed_grasp.action import Action
    from compressed_grasp.heightmap import HeightMap
    from compressed_grasp.policies import Policy
    from compressed_grasp.workspace import Workspace

_CHANGED_HEIGHT = (0.01, 0.3)  # metres
_CHANGED_AREA = 1.2e-3  # m2: VPG's 300 pixels
_USELESS = 10  # actions in a row that change nothing, then the run has failed
_ACTIONS_AN_OBJECT = 15  # however much they change


@dataclass(frozen=True)
class Outcome:
    """What an action did.

    Attributes:
        grasped: whether an object was grasped and taken away.
        changed: whether the scene is another, by `changed` of what is truly there.
    """

    grasped: bool
    changed: bool


class Table(Protocol):
    """A table that can be looked at and acted on, simulated or real."""

    @property
    def remaining(self) -> int:
        """How many objects lie in the workspace."""

    def observe(self) -> HeightMap:
        """Look at it."""

    def execute(self, action: Action) -> Outcome:
        """Carry out an action."""


@dataclass(frozen=True)
class Episode:
    """One run of the routine.

    Attributes:
        objects: in the workspace at the beginning.
        pushes: how many.
        grasps: how many.
        successes: grasps that took an object away.
    """

    objects: int
    pushes: int
    grasps: int
    successes: int

    @property
    def completed(self) -> bool:
        """Whether every object was grasped; one that was pushed out of the workspace was not."""
        return self.successes >= self.objects


@dataclass(frozen=True)
class Summary:
    """What many runs come to, as shares 0..1; NaN where there is nothing to divide by.

    Attributes:
        completion: of the runs that were completed.
        grasp_success: of a run's grasps, mean over completed runs (as VPG's paper).
        efficiency: objects per action, mean over completed runs (as VPG's paper).
        grasp_success_of_all: of all grasps of all runs.
        efficiency_of_all: objects grasped per action of all runs.
    """

    completion: float
    grasp_success: float
    efficiency: float
    grasp_success_of_all: float
    efficiency_of_all: float


def run_episode(
    table: Table,
    policy: Policy,
    workspace: Workspace,
    rng: np.random.Generator,
    watch: Callable[[HeightMap, Action, Outcome], None] | None = None,
) -> Episode:
    """Act until the workspace is empty, nothing is left to do, or nothing changes any more.

    `watch` is called after each action with what was seen before it.
    """
    objects = table.remaining
    pushes = grasps = successes = 0
    useless: list[Action] = []
    while table.remaining and len(useless) < _USELESS:
        seen = table.observe()
        action = policy(seen, workspace, rng, useless)
        if action is None or pushes + grasps >= _ACTIONS_AN_OBJECT * objects:
            break
        outcome = table.execute(action)
        if watch is not None:
            watch(seen, action, outcome)
        pushes += action.kind == "push"
        grasps += action.kind == "grasp"
        successes += outcome.grasped
        useless = [] if outcome.grasped or outcome.changed else [*useless, action]
    return Episode(objects, pushes, grasps, successes)


def changed(before: HeightMap, after: HeightMap, workspace: Workspace) -> bool:
    """Whether heights differ in so many cells, as VPG counts them, that something was moved."""
    low, high = _CHANGED_HEIGHT
    with np.errstate(invalid="ignore"):
        difference = np.abs(after.height - before.height)
        cells = np.count_nonzero((difference >= low) & (difference <= high))
    return bool(cells * workspace.resolution**2 > _CHANGED_AREA)


def summarise(episodes: Sequence[Episode]) -> Summary:
    """Put runs together."""
    completed = [each for each in episodes if each.completed]
    actions = sum(each.pushes + each.grasps for each in episodes)
    grasps = sum(each.grasps for each in episodes)
    successes = sum(each.successes for each in episodes)
    return Summary(
        completion=_mean([each.completed for each in episodes]),
        grasp_success=_mean([each.successes / each.grasps for each in completed]),
        efficiency=_mean([each.objects / (each.pushes + each.grasps) for each in completed]),
        grasp_success_of_all=sum(each.successes for each in episodes) / grasps
        if grasps
        else np.nan,
        efficiency_of_all=successes / actions if actions else np.nan,
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
