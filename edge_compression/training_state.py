"""What a training that was cut off goes on from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from edge_compression.checkpoint import save_checkpoint
from edge_compression.metrics import score
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import BaseModel
    from torch import nn

    from edge_compression.normalising import Normalised
    from edge_compression.protocol import CompressibleSkill, Metric
    from edge_compression.recipe import TrainSettings


@dataclass
class TrainingLog:
    """What a training leaves beside the weights.

    Attributes:
        curve: (step, mean loss since the point before), about 200 of them.
        evaluations: (step, primary metric on the validation split), where the settings ask for it.
        seconds: spent in training, over all its sittings.
    """

    curve: list[tuple[int, float]] = field(default_factory=list)
    evaluations: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class TrainingState:
    """Where a training is.

    Attributes:
        step: steps taken.
        ended: nothing is left to do, whatever the number of steps.
        best: weights with the best of the evaluations, before the first one none.
    """

    step: int = 0
    ended: bool = False
    best: dict[str, torch.Tensor] | None = None
    log: TrainingLog = field(default_factory=TrainingLog)

    def evaluated(
        self, value: float, metric: Metric, network: Normalised, patience: int | None
    ) -> None:
        """Note an evaluation; keep the weights if they are the best so far, else lose patience."""
        earlier = [score(metric, before) for _, before in self.log.evaluations]
        self.log.evaluations.append((self.step, value))
        if not earlier or score(metric, value) > max(earlier):
            self.best = {name: tensor.clone() for name, tensor in network.weights().items()}
        elif patience is not None:
            best = earlier.index(max(earlier))
            self.ended = len(earlier) - best >= patience

    def save(
        self,
        path: Path,
        identity: str,
        skill: CompressibleSkill,
        network: Normalised,
        optimiser: torch.optim.Optimizer,
    ) -> None:
        """Write it whole; the file is also a checkpoint with the weights so far."""
        save_checkpoint(
            path,
            skill,
            network.network,
            state=network.weights(),
            training=network.state_dict(),
            optimiser=optimiser.state_dict(),
            identity=identity,
            step=self.step,
            ended=self.ended,
            best=self.best,
            curve=self.log.curve,
            evaluations=self.log.evaluations,
            seconds=self.log.seconds,
        )


def resume(
    path: Path, identity: str, network: Normalised, optimiser: torch.optim.Optimizer
) -> TrainingState:
    """Give network and optimiser the state of the file; where there is none, begin.

    Raises:
        SettingError: the file is no such state, or that of another training.
    """
    if not path.exists():
        return TrainingState()
    ours = json.loads(identity)
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        theirs = json.loads(saved["identity"])
        changed = [key for key in ours if ours[key] != theirs.get(key)]
        state = None if changed else _restored(saved, network, optimiser)
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
    saved: Mapping[str, Any], network: Normalised, optimiser: torch.optim.Optimizer
) -> TrainingState:
    network.load_state_dict(saved["training"])
    optimiser.load_state_dict(saved["optimiser"])
    log = TrainingLog(
        curve=[(int(step), float(loss)) for step, loss in saved["curve"]],
        evaluations=[(int(step), float(value)) for step, value in saved["evaluations"]],
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
        "settings": settings.model_dump(mode="json", exclude={"interpolation", "device"}),
        "teacher": None if teacher is None else weights_digest(teacher),
        **conditions,
    }
    return json.dumps(parts, sort_keys=True)


def weights_digest(network: nn.Module) -> str:
    """Return the sha256 of the names, shapes and values of the network's weights."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
