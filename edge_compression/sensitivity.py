"""How much each group of layers matters: prune it alone, judge the network, compare."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import joblib
import numpy as np

from edge_compression import measure
from edge_compression.dependency import prunable_groups, without
from edge_compression.job import compressible_skill
from edge_compression.judging import headline_of
from edge_compression.results import GroupSensitivity, Sensitivity, Trial
from edge_compression.saliency import saliencies
from edge_compression.training_state import weights_digest
from edge_runtime.files import write_whole
from edge_runtime.progress import progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic import BaseModel
    from torch import Tensor, nn

    from edge_compression.dependency import Group
    from edge_compression.protocol import CompressibleSkill
    from edge_compression.recipe import Saliency


@dataclass(frozen=True)
class _Question:
    """One trial: which filters of which group go, and how they were chosen."""

    group: str
    saliency: Saliency
    rate: float
    goes: tuple[int, ...]

    @property
    def key(self) -> str:
        return f"{self.saliency} {self.group} {self.rate:g}"


def analyse(
    skill: CompressibleSkill,
    network: nn.Module,
    data: BaseModel,
    rates: Sequence[float],
    methods: Sequence[Saliency],
    *,
    notes: Path,
) -> Sensitivity:
    """Prune every group alone, at every rate, by every saliency, and judge without tuning.

    The trials are independent: they run in local processes, or on the cluster of an enclosing
    `joblib.parallel_config`. Each answer is noted in the file `notes` as it comes, and those of
    the same network and data are not asked for again.

    A group's sensitivity is its share of all groups' errors (SPAQ-DL-SLAM, arXiv 2409.14515): what
    the headline loses on the validation split, the mean over the rates.

    Raises:
        SettingError: the network has nothing to prune.
    """
    inputs = skill.example_inputs(data)
    groups = prunable_groups(skill, network, inputs)
    ranked = {method: saliencies(method, skill, network, data, groups) for method in methods}
    questions = [
        _Question(group.name, method, rate, _least(ranked[method][group.name], rate))
        for method in methods
        for group in groups
        for rate in sorted(rates)
    ]
    identity = _identity(skill, network, data)
    known = _read(notes, identity)
    accuracy = known.get("unpruned")
    if accuracy is None:
        accuracy = known["unpruned"] = headline_of(skill, network, data)
    missing = [question for question in questions if question.key not in known]
    jobs = (joblib.delayed(_answer)(skill.name, network, data, question) for question in missing)
    parallel = joblib.Parallel(n_jobs=-1, return_as="generator_unordered")
    done = len(questions) - len(missing)
    with progress(total=len(questions), initial=done, desc="pruning", unit="trial") as bar:
        for key, answer in parallel(jobs):
            known[key] = answer
            write_whole(notes, json.dumps({"identity": identity, "answers": known}))
            bar.update()
    full = measure.sizes(network, inputs)
    trials: dict[str, list[Trial]] = {group.name: [] for group in groups}
    for question in questions:
        smaller = without(network, inputs, {question.group: question.goes})
        left = measure.sizes(smaller, inputs)
        trials[question.group].append(
            Trial(
                saliency=question.saliency,
                rate=question.rate,
                accuracy=known[question.key],
                lost={name: 1 - left[name] / full[name] for name in full},
            )
        )
    return Sensitivity(accuracy=accuracy, groups=_shares(groups, trials, methods, accuracy))


def _answer(
    skill_name: str, network: nn.Module, data: BaseModel, question: _Question
) -> tuple[str, float]:
    skill = compressible_skill(skill_name)
    smaller = without(network, skill.example_inputs(data), {question.group: question.goes})
    return question.key, headline_of(skill, smaller, data)


def _least(saliency: Tensor, rate: float) -> tuple[int, ...]:
    count = min(max(1, round(rate * len(saliency))), len(saliency) - 1)
    return tuple(saliency.argsort(stable=True)[:count].tolist())


def _shares(
    groups: Sequence[Group],
    trials: Mapping[str, list[Trial]],
    methods: Sequence[Saliency],
    accuracy: float,
) -> list[GroupSensitivity]:
    lost = [accuracy - trial.accuracy for of in trials.values() for trial in of]
    worst = float(np.nanmax([0.0, abs(accuracy), *lost]))
    errors = {
        method: {
            group.name: _error(
                [trial.accuracy for trial in trials[group.name] if trial.saliency == method],
                accuracy,
                worst,
            )
            for group in groups
        }
        for method in methods
    }
    return [
        GroupSensitivity(
            group=group.name,
            layers=group.layers,
            filters=group.filters,
            sensitivity={
                method: of[group.name] / total if (total := sum(of.values())) else 1 / len(groups)
                for method, of in errors.items()
            },
            trials=trials[group.name],
        )
        for group in groups
    ]


def _error(accuracies: Sequence[float], unpruned: float, worst: float) -> float:
    """Return what is lost, the mean; without a value, such as that of finding nothing, `worst`."""
    lost = np.nan_to_num(unpruned - np.array(accuracies), nan=worst)
    return float(np.maximum(lost, 0.0).mean())


def _identity(skill: CompressibleSkill, network: nn.Module, data: BaseModel) -> str:
    parts = [weights_digest(network), data.model_dump_json(), skill.data_digest(data)]
    return " ".join(parts)


def _read(notes: Path, identity: str) -> dict[str, float]:
    try:
        content = json.loads(notes.read_bytes())
        answers: dict[str, float] = content["answers"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return answers if content["identity"] == identity else {}
