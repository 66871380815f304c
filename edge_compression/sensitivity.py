"""How much each group of layers matters: prune it alone, evaluate the network, compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import joblib
import numpy as np

from edge_compression import measure, metrics
from edge_compression.dependency import prunable_groups, without
from edge_compression.evaluation import evaluate_network
from edge_compression.job import compressible_skill
from edge_compression.results import GroupSensitivity, PruningTrial, Sensitivity
from edge_compression.saliency import saliencies
from edge_compression.training_state import weights_digest
from edge_runtime.progress import progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel
    from torch import Tensor, nn

    from edge_compression.dependency import Group
    from edge_compression.evaluation import Evaluations, Metrics
    from edge_compression.protocol import CompressibleSkill, Metric
    from edge_compression.recipe import Saliency


@dataclass(frozen=True)
class _Pruned:
    """One trial: the network without some filters of one group, and what it lost by that."""

    group: str
    saliency: Saliency
    rate: float
    network: nn.Module
    lost: dict[str, float]
    key: str


def analyse(
    skill: CompressibleSkill,
    network: nn.Module,
    data: BaseModel,
    rates: Sequence[float],
    methods: Sequence[Saliency],
    *,
    evaluations: Evaluations,
) -> Sensitivity:
    """Prune every group alone, at every rate, by every saliency, and evaluate without tuning.

    The trials are independent: they run in local processes, or on the cluster of an enclosing
    `joblib.parallel_config`. Each one is kept by `evaluations` as it ends.

    A group's sensitivity is its share of all groups' errors (SPAQ-DL-SLAM, arXiv 2409.14515): what
    the primary metric loses on the validation split, the mean over the rates.

    Raises:
        SettingError: the network has nothing to prune.
    """
    groups = prunable_groups(skill, network, data)
    ranked = {method: saliencies(method, skill, network, data, groups) for method in methods}
    full = measure.sizes(skill.models(network, data))
    trials = []
    for method in methods:
        for group in groups:
            for rate in sorted(rates):
                goes = {group.name: _least(ranked[method][group.name], rate)}
                smaller = without(skill, network, data, goes)
                left = measure.sizes(skill.models(smaller, data))
                lost = {name: 1 - left[name] / full[name] for name in full}
                key = evaluations.key(weights_digest(smaller), data, "validation")
                trials.append(_Pruned(group.name, method, rate, smaller, lost, key))
    unpruned = evaluations.network(network, data)[skill.primary_metric]
    _evaluate(skill.name, data, trials, evaluations)
    found: dict[str, list[PruningTrial]] = {group.name: [] for group in groups}
    for trial in trials:
        value = (evaluations.known(trial.key) or {})[skill.primary_metric]
        found[trial.group].append(
            PruningTrial(saliency=trial.saliency, rate=trial.rate, accuracy=value, lost=trial.lost)
        )
    shares = _shares(groups, found, methods, unpruned, metrics.primary(skill))
    return Sensitivity(accuracy=unpruned, groups=shares)


def _evaluate(
    skill: str, data: BaseModel, trials: Sequence[_Pruned], evaluations: Evaluations
) -> None:
    """Evaluate what is not known yet."""
    missing = {t.key: t.network for t in trials if evaluations.known(t.key) is None}
    jobs = (joblib.delayed(_metrics)(skill, key, net, data) for key, net in missing.items())
    parallel = joblib.Parallel(n_jobs=-1, return_as="generator_unordered")
    done = len(trials) - len(missing)
    with progress(total=len(trials), initial=done, desc="pruning", unit="trial") as bar:
        for key, found in parallel(jobs):
            evaluations.keep(key, found)
            bar.update()


def _metrics(skill: str, key: str, network: nn.Module, data: BaseModel) -> tuple[str, Metrics]:
    return key, evaluate_network(compressible_skill(skill), network, data)


def _least(saliency: Tensor, rate: float) -> tuple[int, ...]:
    count = min(max(1, round(rate * len(saliency))), len(saliency) - 1)
    return tuple(saliency.argsort(stable=True)[:count].tolist())


def _shares(
    groups: Sequence[Group],
    trials: Mapping[str, list[PruningTrial]],
    methods: Sequence[Saliency],
    unpruned: float,
    metric: Metric,
) -> list[GroupSensitivity]:
    losses = {
        (name, method): [
            metrics.loss(metric, unpruned, trial.accuracy)
            for trial in of
            if trial.saliency == method
        ]
        for name, of in trials.items()
        for method in methods
    }
    worst = float(np.nanmax([0.0, abs(unpruned), *(x for of in losses.values() for x in of)]))
    errors = {key: _error(of, worst) for key, of in losses.items()}
    totals = {method: sum(errors[group.name, method] for group in groups) for method in methods}
    return [
        GroupSensitivity(
            group=group.name,
            layers=group.layers,
            filters=group.filters,
            sensitivity={
                method: errors[group.name, method] / totals[method]
                if totals[method]
                else 1 / len(groups)
                for method in methods
            },
            trials=trials[group.name],
        )
        for group in groups
    ]


def _error(losses: Sequence[float], worst: float) -> float:
    """Return the mean loss; without a value, such as that of finding nothing, `worst`."""
    return float(np.maximum(np.nan_to_num(losses, nan=worst), 0.0).mean())
