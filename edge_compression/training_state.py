"""What a training that was cut off goes on from."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from edge_compression.checkpoint import save_checkpoint
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import BaseModel
    from torch import nn

    from edge_compression.normalising import Trainee
    from edge_compression.protocol import CompressibleSkill
    from edge_compression.recipe import TrainSettings


@dataclass
class TrainingLog:
    """What a training leaves beside the weights.

    Attributes:
        curve: (step, mean loss since the point before), about 200 of them.
        judgements: (step, headline on the validation split), where the settings ask for them.
        seconds: spent in training, over all its sittings.
    """

    curve: list[tuple[int, float]] = field(default_factory=list)
    judgements: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class TrainingState:
    """Where a training is.

    Attributes:
        step: steps taken.
        ended: nothing is left to do, whatever the number of steps.
        best: weights with the highest of the judgements, before the first one none.
    """

    step: int = 0
    ended: bool = False
    best: dict[str, torch.Tensor] | None = None
    log: TrainingLog = field(default_factory=TrainingLog)

    def judged(self, headline: float, trainee: Trainee, patience: int | None) -> None:
        """Note a judgement, keep the weights if they are the best so far, lose patience if not."""
        # A metric without a value, such as the precision of a network that finds nothing, is worst.
        earlier = [-math.inf if math.isnan(value) else value for _, value in self.log.judgements]
        self.log.judgements.append((self.step, headline))
        if not earlier or headline > max(earlier):
            self.best = {name: value.clone() for name, value in trainee.weights().items()}
        elif patience is not None:
            best = earlier.index(max(earlier))
            self.ended = len(earlier) - best >= patience

    def save(
        self,
        path: Path,
        identity: str,
        skill: CompressibleSkill,
        trainee: Trainee,
        optimiser: torch.optim.Optimizer,
    ) -> None:
        """Write it whole; the file is also a checkpoint with the weights so far."""
        save_checkpoint(
            path,
            skill,
            trainee.network,
            state=trainee.weights(),
            trainee=trainee.state_dict(),
            optimiser=optimiser.state_dict(),
            identity=identity,
            step=self.step,
            ended=self.ended,
            best=self.best,
            curve=self.log.curve,
            judgements=self.log.judgements,
            seconds=self.log.seconds,
        )


def resume(
    path: Path, identity: str, trainee: Trainee, optimiser: torch.optim.Optimizer
) -> TrainingState:
    """Give trainee and optimiser the state of the file; where there is none, begin.

    Raises:
        SettingError: the file is no such state, or that of another training.
    """
    if not path.exists():
        return TrainingState()
    ours = json.loads(identity)
    try:
        saved = torch.load(path, weights_only=True)
        theirs = json.loads(saved["identity"])
        changed = [key for key in ours if ours[key] != theirs.get(key)]
        state = None if changed else _restored(saved, trainee, optimiser)
    except Exception as error:  # a file that was damaged or edited
        message = f"'{path}' is no state of a training: delete it, or give another --output"
        raise SettingError(message) from error
    if state is None:
        message = (
            f"'{path}' belongs to a training with other {' and '.join(changed)}: "
            "give another --output, or start over with --restart"
        )
        raise SettingError(message)
    return state


def _restored(
    saved: Mapping[str, Any], trainee: Trainee, optimiser: torch.optim.Optimizer
) -> TrainingState:
    trainee.load_state_dict(saved["trainee"])
    optimiser.load_state_dict(saved["optimiser"])
    log = TrainingLog(
        curve=[(int(step), float(loss)) for step, loss in saved["curve"]],
        judgements=[(int(step), float(value)) for step, value in saved["judgements"]],
        seconds=float(saved["seconds"]),
    )
    return TrainingState(int(saved["step"]), bool(saved["ended"]), saved["best"], log)


def training_identity(
    skill: CompressibleSkill,
    network: nn.Module,
    data: BaseModel,
    settings: TrainSettings,
    teacher: nn.Module | None,
    *,
    conditions: Mapping[str, Any],
) -> str:
    """Describe, as JSON, everything that the result depends on."""
    parts: dict[str, Any] = {
        "weights": weights_digest(network),
        "data": data.model_dump(mode="json"),
        "data content": skill.data_digest(data),
        # Interpolation comes after the training.
        "settings": settings.model_dump(mode="json", exclude={"interpolation"}),
        "teacher": None if teacher is None else weights_digest(teacher),
        **conditions,
    }
    return json.dumps(parts, sort_keys=True)


def weights_digest(network: nn.Module) -> str:
    """Return the sha256 of the names, shapes and values of the network's weights."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()
