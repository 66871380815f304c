"""Training by a skill's own trainer: its state folder, and what it hands back."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from edge_compression.claiming import claim
from edge_compression.protocol import TrainingTask
from edge_compression.training_state import weights_digest

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from edge_compression.job import Job
    from edge_compression.protocol import OwnTrainer, TrainedNetwork

STATE = "train_state"
_IDENTITY = "identity.json"


def train_by_skill(job: Job, trainer: OwnTrainer, network: nn.Module) -> TrainedNetwork:
    """Let the skill train the network, in the folder `train_state` of the output.

    Raises:
        SettingError: the folder is of another training.
    """
    folder, data = job.output / STATE, job.skill.uncompressed(job.data)
    identity = {
        "weights": weights_digest(network),
        "data": data.model_dump(mode="json"),
        "data content": job.skill.data_digest(data),
        "settings": job.train.model_dump(mode="json"),
    }
    claim(folder / _IDENTITY, identity, "a training")
    return trainer.train(TrainingTask(network, job.train, data, folder, job.save_every))


def forget(output: Path) -> None:
    """Remove what a training left to go on from."""
    shutil.rmtree(output / STATE, ignore_errors=True)
