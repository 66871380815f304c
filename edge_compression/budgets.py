"""How much may be left of a network, stage by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_compression import allocation, measure
from edge_compression.dependency import prunable_groups, require_described

if TYPE_CHECKING:
    from pydantic import BaseModel
    from torch import nn

    from edge_compression.protocol import CompressibleSkill
    from edge_compression.recipe import PruneSettings


def budgets(
    skill: CompressibleSkill, network: nn.Module, data: BaseModel, settings: PruneSettings
) -> list[dict[str, int]]:
    """Return for each stage the most that it may leave of "macs" and "parameters".

    The recipe's shares are of the network as it came, with what it saw then: a smaller input has
    taken its part of them already. Each stage takes the same share of what the one before left.

    Raises:
        SettingError: nothing can be pruned, the last stage cannot meet its budget, or the network
            cannot be built again.
    """
    full = measure.sizes(skill.models(network, skill.uncompressed(data)))
    start = measure.sizes(skill.models(network, data))
    stages = [
        {
            name: _budget(start[name], full[name] * (1 - share), number / settings.stages)
            for name, share in settings.targets.items()
        }
        for number in range(1, settings.stages + 1)
    ]
    groups = prunable_groups(skill, network, data)
    require_described(skill, network, data, groups)
    allocation.require_within_reach(
        skill,
        network,
        data,
        groups,
        keep=stages[-1],
        full=full,
        multiple_of=settings.multiple_of,
    )
    return stages


def _budget(start: float, end: float, progress: float) -> int:
    return int(start * min(1.0, end / start) ** progress)
