"""A recipe made ready to run: its skill found, its data section validated, its folder there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_compression.protocol import CompressibleSkill
from edge_compression.recipe import load_recipe
from edge_runtime.errors import SettingError
from edge_runtime.skills import load_skill

if TYPE_CHECKING:
    from pydantic import BaseModel

    from edge_compression.recipe import LoadedRecipe

TOOLS = ("compressed_grasp", "torch", "torch-pruning", "onnx", "onnxruntime", "numpy")
"""Distributions whose versions stand beside every result."""


@dataclass(frozen=True)
class Job:
    """One run of `compress train` or `compress run`.

    Attributes:
        output: folder for the results; it exists.
        save_every: seconds between saved states of a training.
    """

    skill: CompressibleSkill
    recipe: LoadedRecipe
    data: BaseModel
    output: Path
    save_every: float


def prepare(recipe_file: Path, output: Path | None, save_every: float) -> Job:
    """Read the recipe and make the output folder, `output/NAME` unless one is given.

    Raises:
        SettingError: the recipe, its skill or the folder is refused.
    """
    recipe = load_recipe(recipe_file)
    skill = compressible_skill(recipe.recipe.skill)
    data = recipe.data(skill.data_model)
    output = output or Path("output") / recipe.recipe.name
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"--output {output} cannot be made ({error.strerror}): give another folder"
        raise SettingError(message) from error
    return Job(skill, recipe, data, output, save_every)


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
