"""The test routine of skills without one of their own: a bundle on a recipe's held-out data."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_compression.job import compressible_skill
from edge_compression.protocol import EvaluationResult
from edge_compression.recipe import load_recipe
from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engines
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping

    from edge_compression.protocol import CompressibleSkill, Metric, Trial


class HeldOutEvaluation:
    """One trial: the skill's own metrics of the engines that a node would take here."""

    def __init__(self, skill: CompressibleSkill) -> None:
        """The metrics are those of the skill."""
        self._skill = skill

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Those of `compress run`."""
        return self._skill.metrics

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the recipe, which says on what data."""
        parser.add_argument(
            "--recipe", type=Path, metavar="FILE", required=True, help="whose held-out data it is"
        )

    def trials(self, args: Namespace) -> Mapping[str, Trial]:
        """Return the one.

        Raises:
            SettingError: no bundle is given.
        """
        if args.bundle is None:
            message = f"compress evaluate {self._skill.name}: add --bundle DIR"
            raise SettingError(message)
        return {"held out": partial(_evaluate, self._skill.name, args.bundle, args.recipe)}

    def summarise(
        self, args: Namespace, results: Mapping[str, Mapping[str, float]]
    ) -> EvaluationResult:
        """Quote the primary metric."""
        (metrics,) = results.values()
        name = self._skill.primary_metric
        verdict = f"{name} {metrics[name]:.4f} on the held-out data of {args.recipe.name}"
        return EvaluationResult(verdict, metrics)


def _evaluate(skill_name: str, path: Path, recipe: Path) -> dict[str, float]:
    skill = compressible_skill(skill_name)
    data = load_recipe(recipe).data(skill.data_model)
    engines = open_engines(load_bundle(path, skill_name))
    return skill.evaluate({name: engine.run for name, engine in engines.items()}, data, "held_out")
