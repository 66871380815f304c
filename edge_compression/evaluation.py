"""A skill's metrics of its networks and engines, each measured once."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from edge_compression.export import torch_runs
from edge_compression.job import TOOLS
from edge_compression.training_state import weights_digest
from edge_runtime.errors import SettingError
from edge_runtime.files import write_whole
from edge_runtime.host import tool_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pydantic import BaseModel
    from torch import nn

    from edge_compression.protocol import CompressibleSkill, Run, Split

Metrics = dict[str, float]


def evaluate(
    skill: CompressibleSkill, runs: Mapping[str, Run], data: BaseModel, split: Split
) -> Metrics:
    """Evaluate the runs by model.

    Raises:
        SettingError: the evaluation lacks the skill's own primary metric.
    """
    metrics = skill.evaluate(runs, data, split)
    if skill.primary_metric not in metrics:
        found = ", ".join(sorted(metrics)) or "none"
        message = (
            f"the evaluation of '{skill.name}' has no metric '{skill.primary_metric}', its "
            f"primary metric; it has {found}: the skill is to correct one of the two"
        )
        raise SettingError(message)
    return metrics


def evaluate_network(
    skill: CompressibleSkill, network: nn.Module, data: BaseModel, split: Split = "validation"
) -> Metrics:
    """Evaluate a torch network, in evaluation mode; it is left in the mode in which it was."""
    training = network.training
    network.eval()
    metrics = evaluate(skill, torch_runs(skill.models(network, data)), data, split)
    network.train(training)
    return metrics


class Evaluations:
    """Metrics that are kept in a folder by what was evaluated, on which data and split."""

    def __init__(self, skill: CompressibleSkill, folder: Path) -> None:
        """The folder is made when there is something to keep."""
        self._skill = skill
        self._folder = folder
        self._digests: dict[str, str] = {}

    def network(self, network: nn.Module, data: BaseModel, split: Split = "validation") -> Metrics:
        """Evaluate a torch network, unless that was done before."""
        return self._once(
            self.key(weights_digest(network), data, split),
            lambda: evaluate_network(self._skill, network, data, split),
        )

    def graphs(
        self,
        graphs: Mapping[str, bytes],
        runs: Callable[[], Mapping[str, Run]],
        data: BaseModel,
        split: Split,
    ) -> Metrics:
        """Evaluate engines of these graphs by model, unless that was done before.

        `runs` opens them. An engine that computes a graph in another way has to be told by one more
        entry of `graphs`.
        """
        hashes = {name: hashlib.sha256(graph).hexdigest() for name, graph in graphs.items()}
        key = self.key(json.dumps(hashes, sort_keys=True), data, split)
        return self._once(key, lambda: evaluate(self._skill, runs(), data, split))

    def key(self, identity: str, data: BaseModel, split: Split) -> str:
        """Return the name under which an evaluation is kept; other libraries, other names."""
        described = data.model_dump_json()
        if described not in self._digests:
            self._digests[described] = self._skill.data_digest(data)
        parts = [self._skill.name, identity, described, self._digests[described], split]
        parts += [f"{name} {version}" for name, version in tool_versions(*TOOLS).items()]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def known(self, key: str) -> Metrics | None:
        """Return what was kept under the key."""
        try:
            found: Metrics = json.loads((self._folder / f"{key}.json").read_bytes())
        except (OSError, ValueError):
            return None
        return found

    def keep(self, key: str, metrics: Metrics) -> None:
        """Note an evaluation."""
        self._folder.mkdir(exist_ok=True)
        write_whole(self._folder / f"{key}.json", json.dumps(metrics))

    def _once(self, key: str, evaluate: Callable[[], Metrics]) -> Metrics:
        metrics = self.known(key)
        if metrics is None:
            metrics = evaluate()
            self.keep(key, metrics)
        return metrics
