"""Structured pruning: whole filters go, and with them what depends on them in other layers."""

from __future__ import annotations

import copy
import math
import warnings
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch_pruning as tp
from torch import nn

from edge_compression import measure
from edge_compression.results import PrunedLayer
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel
    from torch import Tensor

    from edge_compression.protocol import CompressibleSkill
    from edge_compression.recipe import PruneSettings

_FILTERED = (nn.modules.conv._ConvNd, nn.Linear)  # noqa: SLF001 - torch has no public base class


@dataclass(frozen=True)
class _Group:
    """Layers whose filters can go only together; `order` ranks them, least salient first."""

    layers: tuple[str, ...]
    saliency: Tensor
    order: list[int]


def prune(
    skill: CompressibleSkill, network: nn.Module, data: BaseModel, settings: PruneSettings
) -> tuple[nn.Module, list[PrunedLayer]]:
    """Return a copy of the network without its least salient filters; the network stays.

    A filter's saliency is the sum of its weights' magnitudes (L1), the mean of it over the layers
    that the dependency graph ties together, divided by the mean of that group, so that layers of
    different sizes can be ranked in one list. Filters go from the top of this list until the
    network has lost `settings.rate` of its parameters, MACs or filters (`settings.of`), or the
    share closest to it that whole filters allow. Groups keep multiples of `settings.multiple_of`
    filters, and at least that many.

    Raises:
        SettingError: nothing can be pruned, or the rate cannot be met.
    """
    inputs = skill.example_inputs(data)
    groups = _groups(network, inputs, skill.unprunable(network))
    if not groups:
        message = (
            f"no layer of '{skill.name}' can be pruned: each one is grouped, shapes the output, "
            "or is declared unprunable by the skill; leave `prune` out of the recipe"
        )
        raise SettingError(message)
    ranked = sorted(
        (float(group.saliency[index]), which, index)
        for which, group in enumerate(groups)
        for index in group.order
    )
    full = _size(network, inputs, settings.of)

    def lost(candidate: nn.Module) -> float:
        return 1 - _size(candidate, inputs, settings.of) / full

    def cut(count: int) -> nn.Module:
        goes: dict[int, int] = defaultdict(int)
        for _, which, _ in ranked[:count]:
            goes[which] += 1
        plan = {
            group.layers[0]: group.order[: _whole(len(group.order), goes[which], settings)]
            for which, group in enumerate(groups)
        }
        return _remove(network, inputs, plan)

    above = cut(len(ranked))
    if lost(above) < settings.rate:
        message = (
            f"prune.rate = {settings.rate:g} cannot be met: with {settings.multiple_of} filter(s) "
            f"left in every prunable layer, '{skill.name}' loses {lost(above):.3f} of its "
            f"{settings.of}; choose a rate below that"
        )
        raise SettingError(message)
    # What is lost grows with the count: halve the interval until its ends are neighbours.
    below, low, high = network, 0, len(ranked)
    while high - low > 1:
        middle = (low + high) // 2
        candidate = cut(middle)
        if lost(candidate) < settings.rate:
            below, low = candidate, middle
        else:
            above, high = candidate, middle
    pruned = min(above, below, key=lambda candidate: abs(lost(candidate) - settings.rate))
    if pruned is network:
        pruned = above
    return pruned.eval(), _describe(network, pruned, groups)


def _whole(filters: int, goes: int, settings: PruneSettings) -> int:
    """Return how many of a group's filters may go so that a multiple is left."""
    multiple = settings.multiple_of
    kept = max(multiple, math.ceil((filters - goes) / multiple) * multiple)
    return max(0, filters - kept)


def _groups(
    network: nn.Module, inputs: Mapping[str, Tensor], unprunable: Sequence[nn.Module]
) -> list[_Group]:
    names = {module: name for name, module in network.named_modules()}
    ignored = [part for module in unprunable for part in module.modules()]
    groups = []
    graph = _graph(network, inputs)
    for group in graph.get_all_groups(ignored_layers=ignored):
        roots = [
            item.dep.target.module
            for item in group
            if graph.is_out_channel_pruning_fn(item.dep.handler)
            and isinstance(item.dep.target.module, _FILTERED)
        ]
        # Filters of a grouped convolution can only go in equal numbers from each of its groups.
        grouped = any(1 < getattr(module, "groups", 1) < _filters(module) for module in roots)
        if grouped:
            continue
        saliency = _saliency(graph, group)
        order = [int(index) for index in torch.argsort(saliency, stable=True)]
        layers = tuple(dict.fromkeys(names[module] for module in roots))
        groups.append(_Group(layers, saliency, order))
    return groups


def _saliency(graph: tp.DependencyGraph, group: tp.Group) -> Tensor:
    """Rank filters by their own weights (Li et al. 2017), not by those that read them."""
    total = torch.zeros(len(group[0].idxs))
    for item in group:
        module = item.dep.target.module
        if not (
            graph.is_out_channel_pruning_fn(item.dep.handler) and isinstance(module, _FILTERED)
        ):
            continue
        weight = module.weight.detach()
        if getattr(module, "transposed", False):
            weight = weight.transpose(0, 1)
        filters = weight.abs().flatten(1).sum(1)
        total.index_add_(0, torch.tensor(item.root_idxs), filters[item.idxs])
    return total / total.mean().clamp(min=1e-12)  # a layer of zeros has no mean to divide by


def _graph(network: nn.Module, inputs: Mapping[str, Tensor]) -> tp.DependencyGraph:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about parameters outside modules, which it handles
        return tp.DependencyGraph().build_dependency(network, tuple(inputs.values()))


def _remove(
    network: nn.Module, inputs: Mapping[str, Tensor], plan: Mapping[str, Sequence[int]]
) -> nn.Module:
    smaller = copy.deepcopy(network)
    graph = _graph(smaller, inputs)
    for name, indices in plan.items():
        if indices:
            module = smaller.get_submodule(name)
            handler = graph.get_pruner_of_module(module).prune_out_channels
            graph.get_pruning_group(module, handler, list(indices)).prune()
    return smaller


def _size(network: nn.Module, inputs: Mapping[str, Tensor], of: str) -> int:
    if of == "parameters":
        return measure.parameters(network)
    if of == "macs":
        return measure.macs(network, inputs)
    return sum(_filters(module) for module in network.modules() if isinstance(module, _FILTERED))


def _filters(module: nn.Module) -> int:
    filters: int = module.out_features if isinstance(module, nn.Linear) else module.out_channels  # type: ignore[assignment]
    return filters


def _describe(network: nn.Module, pruned: nn.Module, groups: Sequence[_Group]) -> list[PrunedLayer]:
    tied_to = {layer: group.layers[0] for group in groups for layer in group.layers[1:]}
    return [
        PrunedLayer(
            layer=name,
            before=_filters(module),
            after=_filters(pruned.get_submodule(name)),
            tied_to=tied_to.get(name, ""),
        )
        for name, module in network.named_modules()
        if isinstance(module, _FILTERED)
    ]
