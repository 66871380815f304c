"""What compression asks of the pose skill."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from edge_worlds.arm.model import DESK_ARM
from pose_fcn.skill import PoseData, PoseSkill

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("size", "height"), [(256, 192), (128, 96), (160, 128), (320, 256)])
def test_networks_are_measured_on_the_input_of_a_4_to_3_camera(size: int, height: int) -> None:
    data = PoseData(images=1, held_out=1, size=size)

    assert PoseSkill().example_inputs(data)["image"].shape == (1, 3, height, size)


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
