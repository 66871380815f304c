"""How much each filter matters, by its weights or by what the loss says of them."""

from __future__ import annotations

import copy
from itertools import islice
from typing import TYPE_CHECKING

import torch

from edge_compression.job import supervised

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import BaseModel
    from torch import Tensor, nn

    from edge_compression.dependency import Group
    from edge_compression.protocol import CompressibleSkill, SupervisedSkill
    from edge_compression.recipe import Saliency

_BATCHES = 32
_BATCH_SIZE = 8
_SEED = 7

SAMPLES = _BATCHES * _BATCH_SIZE
"""Of the training data that are looked at."""


def saliencies(
    method: Saliency,
    skill: CompressibleSkill,
    network: nn.Module,
    data: BaseModel,
    groups: Sequence[Group],
) -> dict[str, Tensor]:
    """Score every group's filters.

    l1: the sum of the magnitudes of a filter's weights (Li et al. 2017). taylor: the square of the
    sum of weight times gradient, over 32 training batches of 8, which is what the loss would
    change without the filter, to first order (Molchanov et al. 2019). A filter that is tied to
    others in other layers has the sum of theirs.

    Returns:
        (filters,) by the group's name, with a mean of 1, so that layers of different sizes can be
        ranked in one list.
    """
    score = _l1 if method == "l1" else _taylor(supervised(skill, "saliency: taylor"), network, data)
    found = {}
    for group in groups:
        total = torch.zeros(group.filters)
        for member in group.members:
            scores = score(member.layer, network.get_submodule(member.layer))
            total.index_add_(0, torch.tensor(member.shared), scores[member.own])
        found[group.name] = total / total.mean().clamp(min=1e-20)  # a layer of zeros has none
    return found


def _l1(_: str, layer: nn.Module) -> Tensor:
    return _per_filter(layer, layer.get_parameter("weight").detach().abs())


def _taylor(
    skill: SupervisedSkill, network: nn.Module, data: BaseModel
) -> Callable[[str, nn.Module], Tensor]:
    probe = copy.deepcopy(network).eval()
    total: Mapping[str, Tensor] = {
        name: torch.zeros(filters) for name, filters in _layers_with_filters(probe)
    }
    for batch in islice(skill.batches(data, _BATCH_SIZE, _SEED, 0), _BATCHES):
        probe.zero_grad(set_to_none=True)
        skill.loss(probe, batch).backward()  # type: ignore[no-untyped-call]
        for name, change in total.items():
            layer = probe.get_submodule(name)
            effect = sum(
                _per_filter(layer, parameter.detach() * parameter.grad)
                for parameter in layer.parameters(recurse=False)
                if parameter.grad is not None
            )
            change.add_(torch.as_tensor(effect) ** 2)
    return lambda name, _: total[name]


def _layers_with_filters(network: nn.Module) -> list[tuple[str, int]]:
    from edge_compression.dependency import FILTERED, filters

    return [(n, filters(m)) for n, m in network.named_modules() if isinstance(m, FILTERED)]


def _per_filter(layer: nn.Module, values: Tensor) -> Tensor:
    if getattr(layer, "transposed", False) and values.dim() > 1:
        values = values.transpose(0, 1)
    return values.flatten(1).sum(1) if values.dim() > 1 else values
