"""A larger network's answers, which a small one learns from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edge_compression.protocol import Batch, CompressibleSkill

_MEMORY = 0.5  # share of what is free that answers may fill


class Teacher:
    """Answers every batch, and those samples that are always the same only once.

    Answers are kept as long as memory is free for them; the others are given anew.
    """

    def __init__(self, skill: CompressibleSkill, network: nn.Module, share: float) -> None:
        """`share` of what is to be learnt comes from `network`, the rest from the labels."""
        self._skill = skill
        self._network = network
        self._share = share
        self._kept: dict[int, Tensor] = {}
        self._room = int(_MEMORY * psutil.virtual_memory().available)

    @torch.no_grad()
    def lesson(self, batch: Batch) -> Batch:
        """Return the batch with the answers mixed into what is to be learnt."""
        return self._skill.soften(batch, self._answers(batch), self._share)

    def _answers(self, batch: Batch) -> Tensor:
        samples = batch["sample"].tolist() if "sample" in batch else []
        if samples and all(sample in self._kept for sample in samples):
            return torch.stack([self._kept[sample] for sample in samples])
        # Always of a whole batch: its size may decide by which kernels, so how it is rounded.
        answers = self._skill.answers(self._network, batch)
        for sample, answer in zip(samples, answers, strict=False):
            if sample not in self._kept and answer.nbytes <= self._room:
                self._kept[sample] = answer.clone()
                self._room -= answer.nbytes
        return answers
