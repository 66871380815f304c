"""A recipe made ready to run: its skill found, its data section validated, its folder there."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_compression.protocol import CompressibleSkill, SupervisedSkill
from edge_compression.recipe import load_recipe, train_model
from edge_runtime.errors import SettingError
from edge_runtime.host import provenance
from edge_runtime.output_folder import output_folder
from edge_runtime.skills import load_skill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

    from edge_compression.evaluation import Evaluations
    from edge_compression.protocol import Arrays
    from edge_compression.recipe import LoadedRecipe, Recipe

TOOLS = ("compressed_grasp", "torch", "torch-pruning", "onnx", "onnxruntime", "numpy")
"""Distributions whose versions stand beside every result."""

EVALUATIONS = "evaluations"

GOES_ON = "run again, which goes on from what was saved"
"""After a full disk."""


@dataclass(frozen=True)
class Job:
    """One run of `compress train` or `compress run`.

    Attributes:
        data: the recipe's `data` section, of the skill's own type.
        train: the recipe's `train` section, if it has one: `TrainSettings`, or what the skill's own
            trainer wants.
        output: folder for the results; it exists.
        save_every: seconds between saved states of a training.
        calibrations: inputs by model, by the digest of the network's weights; see
            `calibration.network_inputs`.
    """

    skill: CompressibleSkill
    recipe: LoadedRecipe
    data: BaseModel
    train: Any
    output: Path
    save_every: float
    calibrations: dict[str, dict[str, list[Arrays]]] = field(default_factory=dict)

    @property
    def evaluations(self) -> Evaluations:
        """What was evaluated in the output folder, so that it is not evaluated again."""
        from edge_compression.evaluation import Evaluations

        return Evaluations(self.skill, self.output / EVALUATIONS)

    def heading(self) -> dict[str, Any]:
        """Return what every report says of its run: skill, metrics, time, versions, host."""
        return {
            "skill": self.skill.name,
            "name": self.recipe.recipe.name,
            "primary_metric": self.skill.primary_metric,
            "metrics": dict(self.skill.metrics),
            **provenance(*TOOLS),
        }

    @property
    def checkpoint(self) -> Path:
        """The weights to start from.

        Raises:
            SettingError: the recipe names none.
        """
        path = self.recipe.recipe.checkpoint
        if path is None:
            message = (
                f"recipe '{self.recipe.path}' names no checkpoint: train one with `compress train` "
                "and add `checkpoint: PATH`"
            )
            raise SettingError(message)
        return path


@contextmanager
def prepared(
    recipe_file: Path, output: Path | None, save_every: float = 60.0, suffix: str = ""
) -> Iterator[Job]:
    """Read the recipe, make the output folder, and keep other runs out of it.

    The folder is `output/NAME`, with the suffix, unless one is given.

    Raises:
        SettingError: the recipe, its skill or the folder is refused, or the disk is full.
    """
    recipe = load_recipe(recipe_file)
    skill = compressible_skill(recipe.recipe.skill)
    data = recipe.data(skill.data_model)
    train = recipe.train(train_model(skill))
    _require_metrics(skill, recipe.recipe)
    output = output or Path("output") / f"{recipe.recipe.name}{suffix}"
    with output_folder(output, GOES_ON):
        yield Job(skill, recipe, data, train, output, save_every)


def _require_metrics(skill: CompressibleSkill, recipe: Recipe) -> None:
    """Refuse limits of metrics that the skill does not measure."""
    sections = {"limits": recipe.limits}
    if recipe.quantise is not None:
        sections["quantise.limits"] = recipe.quantise.limits
    for section, limits in sections.items():
        for name in limits:
            if name not in skill.metrics:
                message = (
                    f"{section}: the skill '{skill.name}' has no metric '{name}'; it has "
                    f"{', '.join(skill.metrics)}"
                )
                raise SettingError(message)


def compressible_skill(name: str) -> CompressibleSkill:
    """Find an installed skill that has a network to compress.

    Raises:
        SettingError: no such skill, or it lacks a part of the protocol.
    """
    skill = load_skill(name)
    if not isinstance(skill, CompressibleSkill):
        message = (
            f"the skill '{name}' cannot be compressed: its class must have everything of "
            "edge_compression.protocol.CompressibleSkill"
        )
        raise SettingError(message)
    return skill


def supervised(skill: CompressibleSkill, wanted_by: str) -> SupervisedSkill:
    """Return the skill as one that has batches and a loss.

    Raises:
        SettingError: it has none; the message says which key of the recipe asks for them.
    """
    if not isinstance(skill, SupervisedSkill):
        message = (
            f"{wanted_by} needs batches and a loss, which the skill '{skill.name}' has not (see "
            "edge_compression.protocol.SupervisedSkill): leave it out of the recipe"
        )
        raise SettingError(message)
    return skill
