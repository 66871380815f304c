"""Training by a skill's own trainer: its state folder, and what it hands back."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from edge_compression.protocol import TrainingTask
from edge_compression.training_state import weights_digest
from edge_runtime.errors import SettingError
from edge_runtime.files import write_whole

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
    folder = job.output / STATE
    folder.mkdir(exist_ok=True)
    _claim(folder, job, network)
    return trainer.train(TrainingTask(network, job.train, job.data, folder, job.save_every))


def forget(output: Path) -> None:
    """Remove what a training left to go on from."""
    shutil.rmtree(output / STATE, ignore_errors=True)


def _claim(folder: Path, job: Job, network: nn.Module) -> None:
    """Note of which training the folder is, or refuse it where that was another one."""
    ours = {
        "weights": weights_digest(network),
        "data": job.data.model_dump(mode="json"),
        "data content": job.skill.data_digest(job.data),
        "settings": job.train.model_dump(mode="json"),
    }
    file = folder / _IDENTITY
    if not file.exists():
        write_whole(file, json.dumps(ours, indent=2))
        return
    theirs = json.loads(file.read_text())
    if changed := [key for key in ours if ours[key] != theirs.get(key)]:
        message = (
            f"'{folder}' belongs to a training with other {' and '.join(changed)}: "
            "give another --output, or start over with --restart"
        )
        raise SettingError(message)
