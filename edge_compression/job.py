"""A recipe made ready to run: its skill found, its data section validated, its folder there."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from edge_compression.protocol import CompressibleSkill
from edge_compression.recipe import load_recipe
from edge_runtime.errors import SettingError
from edge_runtime.skills import load_skill

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@contextmanager
def prepared(recipe_file: Path, output: Path | None, save_every: float) -> Iterator[Job]:
    """Read the recipe, make the output folder, and keep other runs out of it.

    The folder is `output/NAME` unless one is given.

    Raises:
        SettingError: the recipe, its skill or the folder is refused.
    """
    recipe = load_recipe(recipe_file)
    skill = compressible_skill(recipe.recipe.skill)
    data = recipe.data(skill.data_model)
    output = output or Path("output") / recipe.recipe.name
    try:
        output.mkdir(parents=True, exist_ok=True)
        # Better now than when an hour's training is to be saved.
        TemporaryFile(dir=output).close()
    except OSError as error:
        message = f"--output {output} cannot be written ({error.strerror}): give another folder"
        raise SettingError(message) from error
    with _alone_in(output):
        yield Job(skill, recipe, data, output, save_every)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a lock on the folder: two runs would take each other's files for their own."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # The system lets go of it when the process ends, however it ends.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        message = (
            f"--output {folder} is in use by another `compress`: wait until it has ended, or give "
            "another folder"
        )
        raise SettingError(message) from error
    try:
        yield
    finally:
        os.close(descriptor)


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
