"""Trains the baseline, VPG's network, on the trials that the compact policy learns from."""

from __future__ import annotations

import io
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from compressed_grasp.action import ANGLES
from compressed_grasp.learning.samples import draw_batch
from compressed_grasp.vpg import VPGNet, cell_values, height_image, zoomed
from edge_runtime.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from compressed_grasp.action import Kind
    from compressed_grasp.learning.samples import Samples

_PASSES = 2  # through the network in a step
_LEARNING_RATE = 0.001
_WEIGHT_DECAY = 0.01
_WARM_UP = 0.05  # share of the time in which the learning rate rises
_FIRST_RATE = 0.1  # of the highest
_JAW_ANGLES = ANGLES // 2


class VPGTrainer:
    """Trains `VPGNet` for so many minutes, and goes on in a file from where it was cut off.

    As in VPG only the executed rotation counts, by the Huber loss in the executed cells; what was
    tried along one angle in one picture shares a pass. There are heights only.

    Attributes:
        steps: done so far; two passes each.
        seconds: of learning, over all sittings.
        core_seconds: of processor time of it.
        loss: running mean.
    """

    def __init__(
        self, data: Samples, minutes: float, file: Path, seed: int = 1, save_every: float = 120.0
    ) -> None:
        """Read the file, if it is there; `save_every` is in seconds."""
        torch.manual_seed(seed)
        self.network = VPGNet()
        for parameter in self.network.parameters():
            if parameter.dim() == 4:  # noqa: PLR2004 - of convolutions
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.steps = 0
        self.seconds = self.core_seconds = self.loss = 0.0
        self._data = data
        self._minutes = minutes
        self._file = file
        self._seed = seed
        self._save_every = save_every
        self._optimiser = torch.optim.AdamW(self.network.parameters(), weight_decay=_WEIGHT_DECAY)
        if file.exists():
            self._resume()

    def run(self) -> None:
        """Learn until the minutes are over."""
        saved = self.seconds
        while self.seconds < 60 * self._minutes:
            began, core_began = time.monotonic(), time.process_time()
            rng = np.random.default_rng((self._seed, self.steps))
            loss = self._step(rng)
            self.steps += 1
            self.loss += (loss - self.loss) / min(self.steps, 100)
            self.seconds += time.monotonic() - began
            self.core_seconds += time.process_time() - core_began
            if self.seconds - saved > self._save_every:
                self._save()
                saved = self.seconds
        self._save()

    def _step(self, rng: np.random.Generator) -> float:
        for group in self._optimiser.param_groups:
            group["lr"] = _LEARNING_RATE * _one_cycle(self.seconds / (60 * self._minutes))
        self._optimiser.zero_grad()
        losses = []
        for _ in range(_PASSES):
            loss = self._loss(rng) / _PASSES
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.item())
        self._optimiser.step()
        return sum(losses)

    def _loss(self, rng: np.random.Generator) -> Tensor:
        batch = draw_batch(self._data, 1, rng)
        while not len(batch.index):  # what was tried was shifted out of the picture
            batch = draw_batch(self._data, 1, rng)
        channels = batch.index[:, 1]
        channel = int(rng.choice(channels))
        kind: Kind = "push" if channel < ANGLES else "grasp"
        # Jaws half a turn on are the same.
        k = channel if kind == "push" else channel - ANGLES + _JAW_ANGLES * int(rng.integers(2))
        height = height_image(zoomed(torch.from_numpy(batch.height[0, 0])))
        with torch.autocast("cpu", torch.bfloat16):
            values = self.network.values(
                kind, None, height.contiguous(memory_format=torch.channels_last), k
            )
        executed = np.flatnonzero(channels == channel)
        row, column = torch.from_numpy(batch.index[executed, 2:]).unbind(1)
        tried = cell_values(values.float()[None])[0, row, column]
        return functional.smooth_l1_loss(tried, torch.from_numpy(batch.value[executed]))

    def _save(self) -> None:
        buffer = io.BytesIO()
        state = {name: getattr(self, name) for name in ("steps", "seconds", "core_seconds", "loss")}
        parts = {"network": self.network.state_dict(), "optimiser": self._optimiser.state_dict()}
        torch.save({**state, **parts}, buffer)
        write_whole(self._file, buffer.getvalue())

    def _resume(self) -> None:
        state: dict[str, Any] = torch.load(self._file, map_location="cpu", weights_only=True)
        self.network.load_state_dict(state.pop("network"))
        self._optimiser.load_state_dict(state.pop("optimiser"))
        for name, value in state.items():
            setattr(self, name, value)


def _one_cycle(share: float) -> float:
    """Share of the highest learning rate after this share of the time."""
    if share < _WARM_UP:
        return _FIRST_RATE + (1 - _FIRST_RATE) * share / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (share - _WARM_UP) / (1 - _WARM_UP)))
