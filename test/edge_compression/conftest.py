"""The blob skill, installed the way a third party's package installs one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from edge_compression.commands import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent

# All that the road has, in small numbers: tuning first, two stages by sensitivity, a teacher,
# judgements, training for eight bits, every way to quantise, half precision and a limit.
RECIPE: dict[str, Any] = {
    "skill": "blob",
    "name": "blob_small",
    "checkpoint": "training/trained.pt",
    "data": {"noise": 0.3},
    "train": {"steps": 200, "batch_size": 16, "learning_rate": 0.02, "seed": 3},
    "prune": {"parameters": 0.6, "saliency": "taylor", "stages": 2, "trial_rates": [0.5]},
    "finetune": {
        "steps": 100,
        "before": 20,
        "between": 40,
        "batch_size": 16,
        "learning_rate": 0.01,
        "seed": 4,
        "distil": 0.3,
        "evaluate_every": 20,
        "patience": 2,
    },
    "quantise": {
        "calibration_images": 8,
        "method": "best",
        "limits": {"pixels": {"at_least": "0.98x"}},
        "aware": {"steps": 20, "batch_size": 16, "learning_rate": 0.001},
    },
    "fp16": True,
    "limits": {"pixels": {"at_least": "0.98x"}},
}


@pytest.fixture(scope="session")
def skill_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    for name in ("blob_skill.py", "guess_skill.py", "track_skill.py"):
        shutil.copy(HERE / name, folder)
    info = folder / "blob_skill-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: blob-skill\nVersion: 1.0\n")
    skills = {
        "blob": "BlobSkill",
        "mislabelled_blob": "MislabelledBlobSkill",
        "spoiled_blob": "SpoiledBlobSkill",
        "frozen_blob": "FrozenBlobSkill",
        "mixed_blob": "MixedBlobSkill",
        "precise_blob": "PreciseBlobSkill",
    }
    lines = [f"{name} = blob_skill:{cls}" for name, cls in skills.items()]
    lines += ["guess = guess_skill:GuessSkill", "track = track_skill:TrackSkill"]
    lines.append("scaled_track = track_skill:ScaledTrackSkill")
    (info / "entry_points.txt").write_text("\n".join(["[compressed_grasp.skills]", *lines, ""]))
    return folder


@pytest.fixture(scope="session", autouse=True)
def _installed_skill(skill_folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(skill_folder))
        patch.setenv("PYTHONPATH", str(skill_folder), prepend=os.pathsep)
        yield


@pytest.fixture(scope="session")
def write_recipe() -> Callable[..., Path]:
    """Write RECIPE into a folder, with other values for some of its keys; None leaves one out."""

    def write(folder: Path, **changes: object) -> Path:
        recipe = {key: value for key, value in {**RECIPE, **changes}.items() if value is not None}
        path = folder / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe))
        return path

    return write


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, write_recipe: Callable[..., Path]) -> Path:
    """A folder with `recipe.yaml` and, by `compress train train.yaml`, `training/trained.pt`."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = write_recipe(folder, checkpoint=None).rename(folder / "train.yaml")
    output = str(folder / "training")
    assert main(["train", str(recipe), "--output", output]) == 0
    write_recipe(folder)
    return folder


@pytest.fixture(scope="session")
def compressed(trained: Path) -> Path:
    """The output folder of `compress run`."""
    output = trained / "compressed"
    assert main(["run", str(trained / "recipe.yaml"), "--output", str(output)]) == 0
    return output
