"""Trial and error in rounds: try, value pushes by the network so far, learn (fitted Q)."""

from __future__ import annotations

import copy
import io
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from compressed_grasp.learning.loss import executed_loss
from compressed_grasp.learning.proposals import NetworkProposer, grasp_values
from compressed_grasp.learning.samples import draw_batch, samples
from compressed_grasp.learning.store import TrialStore, make_missing
from edge_runtime.errors import SettingError
from edge_runtime.files import write_whole
from edge_runtime.progress import progress

if TYPE_CHECKING:
    from pathlib import Path

    from compressed_grasp.learning.samples import Batch, Samples
    from compressed_grasp.learning.settings import GraspTraining, Round
    from compressed_grasp.network import GraspNet

_WARM_UP = 0.1  # share of the steps in which the learning rate rises
_CURVE_POINTS = 100  # of a round


class Trainer:
    """Trains a network in a folder, and goes on there from where it was cut off.

    `curve` has the loss: (step over all rounds, mean since the last). `seconds` is the time of
    learning, over all sittings.
    """

    def __init__(
        self, network: GraspNet, settings: GraspTraining, folder: Path, save_every: float = 60.0
    ) -> None:
        """Read the folder's state, if there is one; `save_every` is in seconds.

        Raises:
            SettingError: There is no such device.
        """
        if settings.device == "cuda" and not torch.cuda.is_available():
            message = "device cuda: torch finds no GPU; give device: cpu"
            raise SettingError(message)
        self.network = network.to(settings.device)
        for parameter in self.network.parameters():
            if parameter.dim() == 4:  # noqa: PLR2004 - of convolutions
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.curve: list[tuple[int, float]] = []
        self.seconds = 0.0
        self._settings = settings
        self._store = TrialStore(folder / "trials", settings.seed)
        self._file = folder / "state.pt"
        self._save_every = save_every
        self._round = self._step = 0
        self._teacher: GraspNet | None = None  # the network at the end of the round before
        self._optimiser = self._new_optimiser()
        if self._file.exists():
            self._resume()

    def run(self) -> None:
        """Do the rounds that are not done yet; the network is left in evaluation mode."""
        while self._round < len(self._settings.rounds):
            plan = self._settings.rounds[self._round]
            self._learn(self._samples(plan), plan.steps)
            self._round, self._step = self._round + 1, 0
            self._teacher = copy.deepcopy(self.network).eval()
            self._optimiser = self._new_optimiser()
            self._save()
        self.network.eval()

    def table(self) -> list[dict[str, object]]:
        """Return what each round tried, and how much of it succeeded."""
        rows: list[dict[str, object]] = []
        first = 0
        for number, plan in enumerate(self._settings.rounds, 1):
            row: dict[str, object] = {"round": number, "steps": plan.steps}
            if plan.shards:
                trials = self._store.read(range(first, first + plan.shards))
                row |= {
                    "states": len(trials.heights),
                    "grasps": len(trials.grasps),
                    "successful [%]": round(100 * float(trials.grasps[:, 4].mean()), 1),
                    "pushes": len(trials.pushes),
                    "useful [%]": round(100 * float((trials.pushes[:, 4] >= 0).mean()), 1),
                }
            rows.append(row)
            first += plan.shards
        return rows

    def _samples(self, plan: Round) -> Samples:
        earlier = sum(each.shards for each in self._settings.rounds[: self._round])
        shards = range(earlier, earlier + plan.shards)
        propose = None if self._teacher is None else NetworkProposer(self._teacher)
        make_missing(self._store, shards, self._settings.processes, propose)
        trials = self._store.read(range(earlier + plan.shards))
        if self._teacher is None:
            return samples(trials)
        values = grasp_values(self._teacher.to(self._settings.device), trials.after)
        return samples(trials, self._settings.discount * values)

    def _learn(self, data: Samples, steps: int) -> None:
        self.network.train()
        began = saved = time.monotonic()
        earlier = self.seconds
        first = sum(each.steps for each in self._settings.rounds[: self._round])
        losses: list[float] = []
        description = f"round {self._round + 1} of {len(self._settings.rounds)}"
        for step in progress(
            range(self._step, steps), initial=self._step, total=steps, desc=description, unit="step"
        ):
            rng = np.random.default_rng((self._settings.seed, self._round, step))
            for group in self._optimiser.param_groups:
                group["lr"] = self._settings.learning_rate * _one_cycle((step + 1) / steps)
            losses.append(self._update(draw_batch(data, self._settings.batch_size, rng)))
            self._step = step + 1
            self.seconds = earlier + time.monotonic() - began
            if len(losses) >= steps / _CURVE_POINTS:
                self.curve.append((first + self._step, float(np.mean(losses))))
                losses = []
                if time.monotonic() - saved > self._save_every:
                    self._save()
                    saved = time.monotonic()

    def _update(self, batch: Batch) -> float:
        device = self._settings.device
        height = torch.from_numpy(batch.height).to(device, memory_format=torch.channels_last)
        index = torch.from_numpy(batch.index).to(device)
        value = torch.from_numpy(batch.value).to(device)
        with torch.autocast(device, torch.bfloat16, enabled=self._settings.bfloat16):
            loss = executed_loss(self.network, height, index, value)
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return loss.item()

    def _new_optimiser(self) -> torch.optim.AdamW:
        return torch.optim.AdamW(
            self.network.parameters(), weight_decay=self._settings.weight_decay
        )

    def _save(self) -> None:
        buffer = io.BytesIO()
        state = {
            "round": self._round,
            "step": self._step,
            "seconds": self.seconds,
            "curve": self.curve,
            "network": self.network.state_dict(),
            "teacher": None if self._teacher is None else self._teacher.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        torch.save(state, buffer)
        write_whole(self._file, buffer.getvalue())

    def _resume(self) -> None:
        state: dict[str, Any] = torch.load(self._file, map_location="cpu", weights_only=True)
        self._round, self._step = state["round"], state["step"]
        self.seconds, self.curve = state["seconds"], [tuple(each) for each in state["curve"]]
        self.network.load_state_dict(state["network"])
        if state["teacher"] is not None:
            self._teacher = copy.deepcopy(self.network)
            self._teacher.load_state_dict(state["teacher"])
            self._teacher.eval()
        self._optimiser.load_state_dict(state["optimiser"])


def _one_cycle(share: float) -> float:
    """Share of the highest learning rate after this share of the steps."""
    if share < _WARM_UP:
        return share / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (share - _WARM_UP) / (1 - _WARM_UP)))
