"""One stage of structured pruning: whole filters go, and with them what depends on them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_compression import allocation, measure
from edge_compression.console import show
from edge_compression.dependency import FILTERED, filters, prunable_groups, without
from edge_compression.results import PrunedLayer
from edge_compression.saliency import saliencies
from edge_compression.sensitivity import analyse
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel
    from torch import nn

    from edge_compression.evaluation import Evaluations
    from edge_compression.protocol import CompressibleSkill
    from edge_compression.recipe import PruneSettings
    from edge_compression.results import Sensitivity


_NEAR = 0.005  # of a network's MACs or parameters


@dataclass(frozen=True)
class Pruned:
    """A smaller copy of a network.

    Attributes:
        rates: share of the filters that each group lost.
        sensitivity: by which they were chosen; None where the allocation does not ask for it.
    """

    network: nn.Module
    rates: dict[str, float]
    sensitivity: Sensitivity | None


def prune(
    skill: CompressibleSkill,
    network: nn.Module,
    data: BaseModel,
    settings: PruneSettings,
    *,
    keep: Mapping[str, int],
    evaluations: Evaluations,
) -> Pruned:
    """Return a copy of the network that is within `keep`; the network stays as it is.

    How many filters each group of layers loses is the allocation's matter (see `allocation`), which
    ones is that of their saliency: the least salient go first. `keep` is the most that may be left
    of the network's "macs" and "parameters"; sensitivity trials are kept by `evaluations`, so that
    none is done twice. Where filters are so large that the budget is missed by more than half a
    point, that is said.

    Raises:
        SettingError: nothing can be pruned, or `keep` cannot be met.
    """
    groups = prunable_groups(skill, network, data)
    salient = saliencies(settings.saliency, skill, network, data, groups)
    sensitivity = None
    if settings.allocation == "uniform":
        rules = [allocation.uniform(groups)]
    elif settings.allocation == "ranked":
        rules = [allocation.ranked(groups, salient)]
    else:
        methods = [settings.saliency]
        sensitivity = analyse(
            skill, network, data, settings.trial_rates, methods, evaluations=evaluations
        )
        rules = allocation.by_sensitivity(sensitivity, settings.saliency, list(keep))
    counts = allocation.solve(
        skill, network, data, groups, rules, keep=keep, multiple_of=settings.multiple_of
    )
    order = {name: scores.argsort(stable=True).tolist() for name, scores in salient.items()}
    goes = {name: order[name][:count] for name, count in counts.items()}
    smaller = without(skill, network, data, goes)
    sizes, before = (measure.sizes(skill.models(each, data)) for each in (smaller, network))
    spare = {name: (most - sizes[name]) / before[name] for name, most in keep.items()}
    if min(spare.values()) > _NEAR:
        shares = " and ".join(f"{share:.1%} of the {name}" for name, share in spare.items())
        show(f"{shares} more than asked for are pruned: no filter fits between")
    rates = {group.name: counts[group.name] / group.filters for group in groups}
    return Pruned(smaller, rates, sensitivity)


def describe_layers(
    skill: CompressibleSkill, network: nn.Module, data: BaseModel, pruned: nn.Module
) -> list[PrunedLayer]:
    """Compare every convolution and linear layer before and after, in the network's order."""
    tied_to: dict[str, str] = {}
    with suppress(SettingError):  # where nothing can be pruned, nothing is tied
        groups = prunable_groups(skill, network, data)
        tied_to.update((layer, group.name) for group in groups for layer in group.layers[1:])
    return [
        PrunedLayer(
            layer=name,
            before=filters(module),
            after=filters(pruned.get_submodule(name)),
            tied_to=tied_to.get(name, ""),
        )
        for name, module in network.named_modules()
        if isinstance(module, FILTERED)
    ]
