"""Which filters can go only together, and a network without them."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch_pruning as tp
from torch import nn

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel
    from torch import Tensor

    from edge_compression.protocol import CompressibleSkill, ExportModel, LayerCalls

_MAPS = 4  # dimensions of maps: samples, channels, rows, columns
FILTERED = (nn.modules.conv._ConvNd, nn.Linear)  # noqa: SLF001 - torch has no public base class


@dataclass(frozen=True)
class Member:
    """A layer of a group: its filter `own[k]` stands and falls with the group's `shared[k]`."""

    layer: str
    own: list[int]
    shared: list[int]


@dataclass(frozen=True)
class Group:
    """Layers whose filters can go only together, such as the two ends of an additive skip."""

    members: tuple[Member, ...]
    filters: int

    @property
    def name(self) -> str:
        """The first layer's."""
        return self.members[0].layer

    @property
    def layers(self) -> list[str]:
        """All of them, each once."""
        return list(dict.fromkeys(member.layer for member in self.members))


def prunable_groups(skill: CompressibleSkill, network: nn.Module, data: BaseModel) -> list[Group]:
    """Find the groups in the models' dependency graphs (Fang et al. 2023), the first layer's first.

    Layers are named as in the network. One that several models compute stays as it is, because the
    graph of one model does not know what depends on the layer in another.

    Raises:
        SettingError: there is none.
    """
    names = {module: name for name, module in network.named_modules()}
    models = _traced(skill, network, data)
    counts = Counter(module for model in models for module in model.network.modules())
    shared = [module for module, count in counts.items() if count > 1]
    excluded = [part for module in skill.unprunable(network) for part in module.modules()] + shared
    groups = []
    for model in models:
        graph, found = dependencies(model, excluded)
        for group in found:
            roots = [
                item
                for item in group
                if graph.is_out_channel_pruning_fn(item.dep.handler)
                and isinstance(item.dep.target.module, FILTERED)
            ]
            members = tuple(
                Member(names[x.dep.target.module], list(x.idxs), list(x.root_idxs)) for x in roots
            )
            groups.append(Group(members, len(group[0].idxs)))
    if not groups:
        message = (
            f"no layer of '{skill.name}' can be pruned: each one is grouped, feeds a grouped one, "
            "shapes the output, or is declared unprunable by the skill; leave `prune` out of the "
            "recipe"
        )
        raise SettingError(message)
    return groups


def dependencies(
    model: ExportModel | LayerCalls, excluded: Sequence[nn.Module]
) -> tuple[tp.DependencyGraph, list[tp.dependency.Group]]:
    """Return a model's dependency graph, and its groups without layers that are excluded."""
    graph, feeds = _graph(model)
    groups = [
        group
        for group in graph.get_all_groups(ignored_layers=[*excluded, *feeds])
        if not any(_is_grouped(item.dep.target.module) for item in group)
    ]
    return graph, groups


def without(
    skill: CompressibleSkill,
    network: nn.Module,
    data: BaseModel,
    plan: Mapping[str, Sequence[int]],
) -> nn.Module:
    """Return a copy of the network without the filters in `plan`, by the name of the group."""
    smaller = copy.deepcopy(network)
    goes = {smaller.get_submodule(name): list(indices) for name, indices in plan.items() if indices}
    for model in _traced(skill, smaller, data):
        here = [module for module in model.network.modules() if module in goes]
        if not here:
            continue
        graph, _ = _graph(model)
        for module in here:
            handler = graph.get_pruner_of_module(module).prune_out_channels
            graph.get_pruning_group(module, handler, goes[module]).prune()
    return smaller.eval()


def require_described(
    skill: CompressibleSkill, network: nn.Module, data: BaseModel, groups: Sequence[Group]
) -> None:
    """See whether the network can be built again after every group has lost a filter.

    Layers that no model computes are not in the graphs, and keep the inputs that they had.

    Raises:
        SettingError: its description gives another network.
    """
    goes = {group.name: [0] for group in groups if group.filters > 1}
    smaller = without(skill, network, data, goes)
    again = skill.build_network(skill.network_config(smaller)).state_dict()
    for name, tensor in smaller.state_dict().items():
        shape = None if name not in again else tuple(again[name].shape)
        if shape != tuple(tensor.shape):
            message = (
                f"pruned, the network of '{skill.name}' cannot be built again: '{name}' has the "
                f"shape {tuple(tensor.shape)}, by its description {shape}; the skill is to count "
                "the layers that this one reads among its `unprunable`, or to describe it"
            )
            raise SettingError(message)


def filters(module: nn.Module) -> int:
    """Count the filters of a convolution, or the features of a linear layer."""
    count: int = module.out_features if isinstance(module, nn.Linear) else module.out_channels  # type: ignore[assignment]
    return count


def _traced(
    skill: CompressibleSkill, network: nn.Module, data: BaseModel
) -> list[ExportModel | LayerCalls]:
    return [model.layers or model for model in skill.models(network, data).values()]


def _is_grouped(module: nn.Module) -> bool:
    """Tell whether channels, of input or output, can only go in equal numbers from each group."""
    if isinstance(module, nn.GroupNorm):
        return module.num_groups > 1
    if isinstance(module, nn.modules.conv._ConvNd):  # noqa: SLF001 - see FILTERED
        return 1 < module.groups < max(module.in_channels, module.out_channels)
    return False


class _Fed(nn.Module):
    """A network whose inputs of several channels each come from a layer.

    The dependency graph knows tensors by the layers that make them: where an input is joined with
    others, it would count their channels from the wrong place.
    """

    def __init__(self, network: nn.Module, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.network = network
        self.feeds = nn.ModuleList(
            nn.Conv2d(tensor.shape[1], tensor.shape[1], 1)
            if tensor.is_floating_point() and tensor.ndim == _MAPS
            else nn.Identity()
            for tensor in inputs
        )

    def forward(self, *inputs: Tensor) -> Any:  # noqa: ANN401 - whatever the network gives
        return self.network(*(feed(given) for feed, given in zip(self.feeds, inputs, strict=True)))


def _graph(model: ExportModel | LayerCalls) -> tuple[tp.DependencyGraph, list[nn.Module]]:
    """Return the graph, and layers of it that are not the network's."""
    # Channels are the same in all examples, and the smallest is traced soonest.
    smallest = min(model.examples, key=lambda each: sum(x.numel() for x in each.values()))
    inputs = tuple(smallest.values())
    fed = _Fed(model.network, inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about parameters outside modules, which it handles
        return tp.DependencyGraph().build_dependency(fed, inputs), list(fed.feeds)
