"""A larger network's outputs, which a small one learns from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edge_compression.protocol import Batch, DistillableSkill

_MEMORY = 0.5  # share of what is free that outputs may fill


class Teacher:
    """Gives distillation batches; computes samples that are always the same only once.

    Outputs are kept as long as memory is free for them; the others are computed anew.
    """

    def __init__(self, skill: DistillableSkill, network: nn.Module, share: float) -> None:
        """`share` of what is to be learnt comes from `network`, the rest from the labels."""
        self._skill = skill
        self._network = network
        self._share = share
        self._kept: dict[int, Tensor] = {}
        self._room = int(_MEMORY * psutil.virtual_memory().available)

    @torch.no_grad()
    def distillation_batch(self, batch: Batch) -> Batch:
        """Return the batch with the teacher's outputs mixed into its targets."""
        return self._skill.blend_targets(batch, self._outputs(batch), self._share)

    def _outputs(self, batch: Batch) -> Tensor:
        samples = batch["sample"].tolist() if "sample" in batch else []
        if samples and all(sample in self._kept for sample in samples):
            return torch.stack([self._kept[sample] for sample in samples])
        # Always of a whole batch: its size may decide by which kernels, so how it is rounded.
        outputs = self._skill.teacher_outputs(self._network, batch)
        for sample, output in zip(samples, outputs, strict=False):
            if sample not in self._kept and output.nbytes <= self._room:
                self._kept[sample] = output.clone()
                self._room -= output.nbytes
        return outputs
