"""The recipe's data: pictures to calibrate on, and trials that nothing was learnt from."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from compressed_grasp.action import ANGLES
from compressed_grasp.learning.scenes import draw_camera, draw_faults, draw_scene
from compressed_grasp.learning.store import TrialStore, make_missing
from compressed_grasp.learning.trials import SPACE, to_metres
from compressed_grasp.simulation import SimulatedTable
from edge_compression.protocol import RecipePath  # noqa: TC001 - pydantic reads it
from edge_runtime.caching import cache_directory
from edge_runtime.files import sha256
from edge_worlds.tabletop.world import TabletopWorld

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressed_grasp.learning.trials import Trials
    from edge_compression.protocol import Run

_WORLD = 2
"""Raised whenever a change of world or gripper changes what trials come to."""
_SEEDS = {"validation": 1_000_003, "held_out": 2_000_003, "pictures": 3_000_003}  # added


class RecordedTrials(BaseModel):
    """Trials that `compress train` has made, to tune on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: RecipePath = Field(description="`train_state/trials` of its output")
    shards: int = Field(gt=0, description="how many are there, from the first on")
    seed: int = Field(default=1, ge=0, description="that they were made with")
    teacher: RecipePath = Field(
        description="checkpoint of the network whose best grasp after a push tells its worth"
    )
    discount: float = Field(default=0.7, gt=0, lt=1, description="of the grasp after a push")

    @property
    def store(self) -> TrialStore:
        """Where they lie."""
        return TrialStore(self.folder, self.seed)

    def digest(self) -> str:
        """Identify their content, and that of the teacher."""
        parts = self.store.digest(range(self.shards)), sha256(self.teacher), self.discount
        return " ".join(map(str, parts))


class GraspData(BaseModel):
    """The recipe's `data` section: what is drawn to choose and to measure by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shards: int = Field(
        default=2,
        gt=0,
        description="of trials that networks are measured on, about 1,500 trials each, for the "
        "validation and for the held-out split; kept in the cache",
    )
    seed: int = Field(default=1, ge=0)
    trials: RecordedTrials | None = Field(
        default=None, description="for `finetune` and `quantise.aware`; left out: nothing is tuned"
    )

    def digest(self) -> str:
        """Identify what is drawn and what is tuned on."""
        text = f"{_WORLD} {self.model_dump_json(exclude={'trials'})}"
        if self.trials is not None:
            text += self.trials.digest()
        return hashlib.sha256(text.encode()).hexdigest()


def held_out_trials(data: GraspData, split: Literal["validation", "held_out"]) -> Trials:
    """Return the split's trials, of scenes of their own; they are made where the cache has none."""
    folder = cache_directory() / "grasp_trials" / f"{_WORLD}"
    store = TrialStore(folder, data.seed + _SEEDS[split])
    make_missing(store, range(data.shards))
    return store.read(range(data.shards))


@lru_cache(maxsize=1)
def pictures(count: int, seed: int) -> NDArray[np.float32]:
    """Draw height maps (count, 1, 112, 112) [m], unseen 0, of scenes of their own."""
    maps = []
    for k in range(count):
        rng = np.random.default_rng((seed + _SEEDS["pictures"], k))
        world = TabletopWorld(draw_scene(rng))
        table = SimulatedTable(world, draw_camera(rng), SPACE, draw_faults(rng), rng, colored=False)
        maps.append(np.nan_to_num(table.observe().height)[None])
    return np.stack(maps)


def accuracy(run: Run, trials: Trials) -> dict[str, float]:
    """Compare a network's grasp values with what grasps came to; see `scores`."""
    values = np.empty(len(trials.grasps), np.float32)
    for state, height in enumerate(trials.heights):
        tried = np.flatnonzero(trials.grasps[:, 0] == state)
        q = run({"height": to_metres(height)[None, None]})["q"][0]
        _, row, column, angle, _ = trials.grasps[tried].T
        values[tried] = q[ANGLES + angle, row, column]
    return scores(trials.grasps, values)


def scores(grasps: NDArray[np.int32], values: NDArray[np.float32]) -> dict[str, float]:
    """Compare values (n,) of grasps (n, 5), as of `Trials`, with what they came to.

    Returns:
        auc: probability that a grasp that succeeds has a higher value than one that fails.
        best_grasp: share of the states in which the grasp of the highest value, among those that
            were tried, succeeds; of states where one does and one does not.
        brier: mean square of the difference of value and success.
    """
    best = []
    for state in np.unique(grasps[:, 0]):
        tried = grasps[:, 0] == state
        success = grasps[tried, 4]
        if 0 < success.sum() < len(success):
            best.append(success[values[tried].argmax()])
    success = grasps[:, 4].astype(bool)
    return {
        "auc": _auc(values, success),
        "best_grasp": float(np.mean(best)),
        "brier": float(np.mean((values - success) ** 2)),
    }


def _auc(values: NDArray[np.float32], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve, by ranks (Mann-Whitney); equal values count half."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    n = np.count_nonzero(positive)
    area = rank[positive].sum() - n * (n + 1) / 2
    return float(area / (n * (len(values) - n)))
