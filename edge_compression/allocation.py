"""How many filters of each group go, so that the network loses what is asked and no more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edge_compression import measure
from edge_compression.dependency import without
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from pydantic import BaseModel
    from torch import Tensor, nn

    from edge_compression.dependency import Group
    from edge_compression.protocol import CompressibleSkill
    from edge_compression.results import Sensitivity

    Counts = dict[str, int]
    Rule = Callable[[float], dict[str, float]]
    """Shares of the groups' filters that go, rising with a level in 0..1; at 1 all of all."""

_HALVINGS = 30
_MIXTURES = 5


def uniform(groups: Sequence[Group]) -> Rule:
    """Every group loses the same share."""
    return lambda level: {group.name: level for group in groups}


def ranked(groups: Sequence[Group], saliency: Mapping[str, Tensor]) -> Rule:
    """The least salient filters go, wherever they are."""
    everything = np.sort(np.concatenate([saliency[group.name].numpy() for group in groups]))

    def rates(level: float) -> dict[str, float]:
        count = round(level * len(everything))
        bound = everything[count - 1] if count else -np.inf
        return {
            group.name: float((saliency[group.name] <= bound).double().mean()) for group in groups
        }

    return rates


def by_sensitivity(sensitivity: Sensitivity, method: str, targets: Sequence[str]) -> list[Rule]:
    """Groups that cost much and matter little lose most.

    A group's rate is proportional to its share of the cost, times how little it matters: one less
    its share of the errors. (SPAQ-DL-SLAM, arXiv 2409.14515, multiplies share and sensitivity; its
    normalisation is not published.) The share of the cost is what its trials took from the
    network's `targets`, "macs" or "parameters". Of two targets there is a rule for each mixture, as
    either may be the scarce one. No rate is above 1.
    """
    trials = {
        group.group: [trial for trial in group.trials if trial.saliency == method]
        for group in sensitivity.groups
    }
    robust = np.array([1 - group.sensitivity[method] for group in sensitivity.groups])
    weights = []
    for target in targets:
        lost = np.array([np.mean([x.lost[target] for x in of]) for of in trials.values()])
        weights.append(lost / max(lost.sum(), 1e-12) * robust)  # layers of one filter lose none
    first, last = weights[0], weights[-1]
    mixtures = np.linspace(0, 1, _MIXTURES) if len(targets) > 1 else [0.0]
    return [_proportional(list(trials), (1 - x) * first + x * last) for x in mixtures]


def _proportional(names: Sequence[str], weights: NDArray[np.float64]) -> Rule:
    weights = np.maximum(weights, 1e-6)
    weights /= weights.max()

    def rates(level: float) -> dict[str, float]:
        # A level of 1 has to empty every group, and levels have to be told apart: the slope goes
        # to infinity as the level goes to 1.
        slope = level / max(1 - level, 1e-12)
        return {
            name: float(min(1.0, slope * weight))
            for name, weight in zip(names, weights, strict=True)
        }

    return rates


def require_within_reach(
    skill: CompressibleSkill,
    network: nn.Module,
    data: BaseModel,
    groups: Sequence[Group],
    *,
    keep: Mapping[str, int],
    full: Mapping[str, int],
    multiple_of: int,
) -> None:
    """See whether the smallest network of all is within the budget.

    Args:
        skill: that says what the network's models are.
        network: to be pruned.
        data: of the recipe.
        groups: that can be pruned.
        keep: the most that may be left of the network's "macs" and "parameters".
        full: what the message gives shares of.
        multiple_of: of which every group keeps a multiple.

    Raises:
        SettingError: it is not.
    """
    goes = {group.name: range(_whole(group.filters, 1.0, multiple_of)) for group in groups}
    least = measure.sizes(skill.models(without(skill, network, data, goes), data), keep)
    if any(least[name] > most for name, most in keep.items()):
        reached = ", ".join(f"{1 - least[name] / full[name]:.3f} of the {name}" for name in keep)
        message = (
            f"prune asks for too much: with {multiple_of} filter(s) left in every prunable layer "
            f"the network loses {reached}; lower the shares"
        )
        raise SettingError(message)


def solve(
    skill: CompressibleSkill,
    network: nn.Module,
    data: BaseModel,
    groups: Sequence[Group],
    rules: Sequence[Rule],
    *,
    keep: Mapping[str, int],
    multiple_of: int,
) -> Counts:
    """Find how many filters of each group go, by the group's name.

    The level of a rule is the lowest at which the network is within its budget; then filters that
    the budget still has room for are given back in turns, the lowest rates first. Of several rules
    the one counts that uses the budget best. Every group keeps a multiple of `multiple_of`
    filters, and at least that many. `keep` is the most that may be left of the network's "macs" and
    "parameters".

    Raises:
        SettingError: the budget cannot be met.
    """
    known: dict[tuple[int, ...], dict[str, int]] = {}

    def size(plan: Counts) -> dict[str, int]:
        key = tuple(plan.values())
        if key not in known:
            # Which filters go does not matter for the size.
            goes = {name: range(count) for name, count in plan.items()}
            smaller = without(skill, network, data, goes)
            known[key] = measure.sizes(skill.models(smaller, data), keep)
        return known[key]

    def fits(plan: Counts) -> bool:
        return all(size(plan)[name] <= most for name, most in keep.items())

    def used(plan: Counts) -> float:
        return math.prod(size(plan)[name] / most for name, most in keep.items())

    full = measure.sizes(skill.models(network, data), keep)
    require_within_reach(
        skill, network, data, groups, keep=keep, full=full, multiple_of=multiple_of
    )
    return max((_meet(groups, rule, fits, multiple_of) for rule in rules), key=used)


def _meet(
    groups: Sequence[Group], rule: Rule, fits: Callable[[Counts], bool], multiple_of: int
) -> Counts:
    def counts(level: float) -> Counts:
        rates = rule(level)
        return {
            group.name: _whole(group.filters, rates[group.name], multiple_of) for group in groups
        }

    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(counts(middle)) else (middle, high)
    plan, rates = counts(high), rule(high)
    given = True
    while given:
        given = False
        for name in sorted(plan, key=lambda name: rates[name]):
            back = min(plan[name], multiple_of)  # less where all filters are no multiple
            if back and fits({**plan, name: plan[name] - back}):
                plan[name] -= back
                given = True
    return plan


def _whole(filters: int, rate: float, multiple_of: int) -> int:
    """How many of a group's filters go so that a multiple is left."""
    left = math.ceil((1 - rate) * filters / multiple_of - 1e-9) * multiple_of
    return max(0, filters - max(multiple_of, left))
