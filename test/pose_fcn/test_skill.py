"""What compression asks of the pose skill."""

from __future__ import annotations

import re
import shutil
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from edge_compression.job import compressible_skill
from edge_compression.recipe import load_recipe
from edge_worlds.arm.model import DESK_ARM
from pose_fcn.data import PoseData
from pose_fcn.skill import PoseSkill

REPOSITORY = Path(__file__).resolve().parents[2]

if TYPE_CHECKING:
    from collections.abc import Iterator


def _example(data: PoseData) -> torch.Tensor:
    model = PoseSkill().models(torch.nn.Identity(), data)["pose"]
    return model.examples[0]["image"]


@pytest.mark.parametrize(("size", "height"), [(256, 192), (128, 96), (160, 128), (320, 256)])
def test_networks_are_measured_on_the_input_of_a_4_to_3_camera(size: int, height: int) -> None:
    data = PoseData(images=1, held_out=1, size=size)

    assert _example(data).shape == (1, 3, height, size)


@pytest.mark.parametrize("suffix", [".yaml", ".xml"])
def test_an_arm_that_is_edited_in_place_is_other_data(tmp_path: Path, suffix: str) -> None:
    shutil.copytree(DESK_ARM.parent, tmp_path / "arm")
    arm = tmp_path / "arm" / DESK_ARM.name
    data = PoseData(images=1, held_out=1, arm=arm)
    before = PoseSkill().data_digest(data)
    assert PoseSkill().data_digest(data) == before

    edited = arm.with_suffix(suffix)
    edited.write_text(edited.read_text() + "\n")

    assert PoseSkill().data_digest(data) != before


def test_the_recipe_in_the_docs_is_valid(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "compression.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (recipe,) = (block for block in blocks if block.startswith("skill:"))
    (tmp_path / "recipe.yaml").write_text(recipe)

    loaded = load_recipe(tmp_path / "recipe.yaml")

    assert isinstance(loaded.data(PoseData), PoseData)


@pytest.mark.parametrize(
    "recipe", sorted((REPOSITORY / "config" / "recipes").glob("*.yaml")), ids=lambda path: path.stem
)
def test_the_recipes_that_ship_are_valid(recipe: Path) -> None:
    loaded = load_recipe(recipe)
    model = compressible_skill(loaded.recipe.skill).data_model
    assert isinstance(loaded.data(model), model)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoseData]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield PoseData(
            images=8,
            held_out=4,
            validation=4,
            size=128,
            input_size=64,
            augment=False,
        )


def test_a_network_that_sees_less_is_taught_and_judged_on_the_same_keypoints(
    small: PoseData,
) -> None:
    pytest.importorskip("torch", reason="torch comes with the extra [compress]")
    from pose_fcn.training_images import target_maps

    skill = PoseSkill()
    images, labels, _ = skill.labelled(small, "validation")
    # An oracle: its outputs are the target maps of the picture that it is shown.
    batch = next(skill.batches(small, 8, 0, 0))
    assert batch["image"].shape == (8, 3, 64, 64)
    assert batch["maps"].shape == (8, 9, 32, 32)
    shown = iter(range(len(images)))

    def oracle(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert inputs["image"].shape == (1, 3, 64, 64)
        seen = (labels[next(shown)] + 0.5) / 2 - 0.5
        return {"maps": target_maps(seen.astype(np.float32), [], 64)[None]}

    accuracy = skill.evaluate({"pose": oracle}, small, "validation")

    assert accuracy["pck@0.5"] == 1
    assert accuracy["mean_error_px"] < 0.5


def test_whole_pictures_are_numbered_and_views_of_them_are_not(small: PoseData) -> None:
    skill = PoseSkill()
    first, second = islice(skill.batches(small, 8, 0, 0), 2)
    pairs = [
        (here, there)
        for here, sample in enumerate(first["sample"].tolist())
        for there, same in enumerate(second["sample"].tolist())
        if sample == same
    ]
    assert pairs
    for here, there in pairs:
        assert first["image"][here].equal(second["image"][there])
    views = next(skill.batches(small.model_copy(update={"augment": True}), 8, 0, 0))
    assert "sample" not in views


def test_splits_share_no_picture(small: PoseData) -> None:
    skill = PoseSkill()
    held_out, validation = (
        skill.labelled(small, split)[0].keypoints for split in ("held_out", "validation")
    )

    assert not np.isclose(held_out[:, None], validation[None]).all(axis=(2, 3)).any()


def test_the_unpruned_network_is_measured_on_whole_pictures(small: PoseData) -> None:
    skill = PoseSkill()

    assert _example(small).shape == (1, 3, 64, 64)
    whole = skill.uncompressed(small)
    assert _example(whole).shape == (1, 3, 96, 128)
    assert skill.bundle_settings(whole).settings["long_side"] == 128


@pytest.mark.parametrize(
    ("change", "sides"),
    [
        ({}, (128, 192, 256)),
        ({"input_size": 160}, (256,)),
        ({"input_size": 128}, (128, 192, 256)),
        ({"size": 160, "input_size": 96}, (160,)),
        ({"windows": (64, 96)}, (64, 96)),
    ],
)
def test_windows_that_are_left_out_fit_the_network(
    change: dict[str, Any], sides: tuple[int, ...]
) -> None:
    assert PoseData(images=1, held_out=1, **change).sides == sides


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input_size": 160, "windows": (128,)}, "windows: 128 pixels are 80 for the network"),
        ({"input_size": 320}, "input_size 320 is more than size 256"),
        ({"windows": (128,), "augment": False}, "windows: without augment whole images are seen"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        PoseData(images=1, held_out=1, **change)


class _Fixed(torch.nn.Module):
    """Answers the same logits to every image."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self._logits = logits

    def logits(self, _image: torch.Tensor) -> torch.Tensor:
        return self._logits


def _loss(logits: torch.Tensor, maps: torch.Tensor) -> float:
    batch = {"image": torch.zeros(len(maps), 3, 32, 32), "maps": maps}
    return PoseSkill().loss(_Fixed(logits), batch).item()


def test_a_keypoint_seen_at_two_places_costs_more_than_the_same_false_pixels_on_the_skeleton() -> (
    None
):
    maps = torch.zeros(1, 9, 16, 16)
    maps[:, :, 4, 4:6] = 1
    right = 12 * maps - 6
    twice, elsewhere = right.clone(), right.clone()
    twice[:, 0, 11, 4:6] = 6
    elsewhere[:, 8, 11, 4:6] = 6

    assert _loss(right, maps) < _loss(elsewhere, maps) < _loss(twice, maps) - 0.05


def test_false_pixels_cost_more_where_there_is_no_arm() -> None:
    maps = torch.zeros(2, 9, 16, 16)
    maps[0, :, 4, 4:6] = 1
    right = 12 * maps - 6
    with_arm, without = right.clone(), right.clone()
    with_arm[0, 8, 11, 4:6] = without[1, 8, 11, 4:6] = 6

    costs = [float(_loss(logits, maps) - _loss(right, maps)) for logits in (with_arm, without)]

    assert costs[1] > 10 * costs[0] > 0


def test_an_absent_keypoint_has_no_place() -> None:
    maps = torch.zeros(2, 9, 16, 16)
    maps[0, :, 4, 4:6] = 1
    flat, peaked = torch.full_like(maps, -6), torch.full_like(maps, -6)
    peaked[1, 0, 4, 4] = -5.9

    assert _loss(flat, torch.zeros_like(maps)) < 50
    assert abs(_loss(peaked, maps) - _loss(flat, maps)) < 1e-3
