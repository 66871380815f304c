"""Trial and error in rounds: try, value the pushes by the last network, learn (fitted Q)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional

from compressed_grasp.action import ANGLES
from compressed_grasp.learning.proposals import NetworkProposer
from compressed_grasp.learning.samples import batch, samples
from compressed_grasp.learning.store import TrialStore, make_missing
from compressed_grasp.learning.trials import to_metres
from edge_runtime.files import write_whole
from edge_runtime.progress import progress

if TYPE_CHECKING:
    import io
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from compressed_grasp.learning.samples import Samples
    from compressed_grasp.network import GraspNet

_OBJECT = 0.01  # metres above the table: grasps are at objects only
_WARM_UP = 0.1
_CURVE_POINTS = 100


class Round(BaseModel):
    """Trials to be made, then steps of learning from all trials so far."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shards: int = Field(ge=0, description="of trials, about 1,500 each, more than before")
    steps: int = Field(gt=0, description="of learning")


class GraspTraining(BaseModel):
    """The recipe's `train` section."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rounds: tuple[Round, ...] = Field(
        min_length=1,
        description="the first learns grasps from random trials; those after it pushes, too, and "
        "also try what the network of the round before would do",
    )
    discount: float = Field(default=0.5, gt=0, lt=1, description="of the grasp after a push")
    batch_size: int = Field(default=16, gt=0, description="states")
    learning_rate: float = Field(default=0.002, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    seed: int = Field(default=0, ge=0)
    processes: int | None = Field(
        default=None, gt=0, description="that make trials; left out: one for each core"
    )
    device: str = Field(default="cpu", pattern="^(cpu|cuda)$")
    bfloat16: bool = Field(default=True, description="autocast")


@dataclass
class _Progress:
    """What a training goes on from: the round, its steps done, losses so far."""

    number: int = 0
    step: int = 0
    seconds: float = 0.0


class Trainer:
    """Trains a network in a folder, and goes on there from where it was cut off."""

    def __init__(
        self, network: GraspNet, settings: GraspTraining, folder: Path, save_every: float
    ) -> None:
        """Read the folder's state, if there is one; `save_every` is in seconds."""
        self.network = network.to(settings.device, memory_format=torch.channels_last)
        self.settings = settings
        self.curve: list[tuple[int, float]] = []
        self._store = TrialStore(folder / "trials", settings.seed)
        self._file = folder / "state.pt"
        self._save_every = save_every
        self._at = _Progress()
        self._optimiser_state: dict[str, object] | None = None
        self._resume()

    @property
    def seconds(self) -> float:
        """Of learning, over all sittings."""
        return self._at.seconds

    def run(self) -> None:
        """Do the rounds that are not done yet."""
        while self._at.number < len(self.settings.rounds):
            self._round(self.settings.rounds[self._at.number])

    def _round(self, plan: Round) -> None:
        number = self._at.number
        earlier = sum(each.shards for each in self.settings.rounds[:number])
        teacher = self._teacher()
        propose = None if teacher is None else NetworkProposer(teacher)
        shards = earlier + plan.shards
        make_missing(self._store, range(earlier, shards), self.settings.processes, propose)
        trials = self._store.read(range(shards))
        values = None
        if teacher is not None:
            values = self.settings.discount * grasp_values(teacher, trials.after)
        self._learn(samples(trials, values), plan.steps)
        self._at = _Progress(number + 1, 0, self._at.seconds)
        self._optimiser_state = None
        self._save()
