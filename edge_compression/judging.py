"""The headline metric of a torch network, on the split that choices are made on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_compression.export import torch_run
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from torch import nn

    from edge_compression.protocol import CompressibleSkill, JudgedSplit, Run


def headline_of(skill: CompressibleSkill, network: nn.Module, data: BaseModel) -> float:
    """Judge the network, in evaluation mode, on the validation split; higher is better."""
    training = network.training
    network.eval()
    accuracy = judge(skill, torch_run(network, skill.interface(data)), data, "validation")
    network.train(training)
    return accuracy[skill.headline]


def judge(
    skill: CompressibleSkill, run: Run, data: BaseModel, split: JudgedSplit
) -> dict[str, float]:
    """Let the skill measure what `run` answers.

    Raises:
        SettingError: the skill's evaluation lacks its own headline metric.
    """
    accuracy = {name: float(value) for name, value in skill.evaluate(run, data, split).items()}
    if skill.headline not in accuracy:
        message = (
            f"the skill '{skill.name}' evaluates {', '.join(accuracy)}, but its headline is "
            f"'{skill.headline}': one of the two must be corrected in its skill.py"
        )
        raise SettingError(message)
    return accuracy
