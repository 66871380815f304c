"""The Panda's description, which needs the development data for its model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="mujoco comes with the extra [train]")

from edge_runtime.errors import SettingError
from edge_worlds.arm.model import Arm, read_description
from edge_worlds.arm.renderer import cast
from edge_worlds.arm.scene import SceneSampler
from edge_worlds.camera import Camera, look_at

if TYPE_CHECKING:
    from edge_worlds.arm.renderer import Hits

DESCRIPTION = Path(__file__).resolve().parents[2] / "config" / "arms" / "panda.yaml"


def described(shared_data: Path, folder: Path, before: str = "", after: str = "") -> Path:
    """A copy that finds the model wherever it lies, with a change."""
    text = DESCRIPTION.read_text()
    assert before in text
    path = folder / "panda.yaml"
    model = str(shared_data / "pose" / "panda" / "panda.urdf")
    text = text.replace("../../../shared/data/pose/panda/panda.urdf", model)
    path.write_text(text.replace(before, after) if before else text)
    return path


def view(arm: Arm) -> Hits:
    arm.pose(np.array([0.0, -0.2, 0.0, -2.0, 0.0, 2.0, 0.785, 0.03, 0.03]))
    middle = np.array([0.25, 0.0, 0.4])
    matrix = np.array([[220.0, 0, 79.5], [0, 220.0, 79.5], [0, 0, 1]])
    eye = middle + np.array([0.3, -1.2, 0.4])
    return cast(arm, Camera(matrix, look_at(eye, middle), 160, 160))


def test_its_keypoints_are_those_of_the_real_labels_to_a_tenth_of_a_pixel(
    shared_data: Path, tmp_path: Path
) -> None:
    content = json.loads((shared_data / "pose" / "franka" / "keypoints.json").read_text())
    assert (
        read_description(DESCRIPTION).model
        == (shared_data / "pose" / "panda" / "panda.urdf").resolve()
    )
    arm = Arm(described(shared_data, tmp_path))
    names = arm.description.names
    camera = Camera(np.array(content["K"]), np.array(content["camera_T_base"]), 640, 480)
    for frame in content["frames"]:
        arm.pose(np.array([*frame["q_used"], 0.0, 0.0]))
        pixels = camera.project(arm.keypoints())
        for point in frame["keypoints"]:
            ours = pixels[names.index(point["name"])]
            assert ours == pytest.approx(point["projected_location"], abs=0.1)


def test_paint_changes_colours_and_nothing_else(shared_data: Path, tmp_path: Path) -> None:
    painted = Arm(described(shared_data, tmp_path))
    text = DESCRIPTION.read_text()
    coat = text[text.index("paint:") : text.index("# Cameras")]
    plain = Arm(described(shared_data, tmp_path, coat))
    ours, theirs = view(painted), view(plain)
    same = np.isclose(ours.depth, theirs.depth, atol=1e-4)
    assert same.mean() > 0.999
    assert np.array_equal(ours.geom == painted.floor, theirs.geom == plain.floor)
    on_arm = np.isin(theirs.geom, plain.geoms)
    assert on_arm.mean() > 0.1
    assert np.all(plain.model.geom_rgba[theirs.geom[on_arm], :3] == 1)
    dark = painted.model.geom_rgba[ours.geom[on_arm], :3].max(axis=1) < 0.3
    assert 0.05 < dark.mean() < 0.4


def test_its_poses_keep_to_the_ranges_and_its_pictures_cut_off_some_arms(
    shared_data: Path, tmp_path: Path
) -> None:
    arm = Arm(described(shared_data, tmp_path))
    sampler = SceneSampler(arm, (64, 64))
    pictures = [sampler.sample(np.random.default_rng(seed)) for seed in range(30)]
    joints = np.stack([picture.joints for picture in pictures])
    for name, (least, most) in arm.description.joints.items():
        values = joints[:, arm.model.joint(name).qposadr[0]]
        assert least <= values.min() < values.max() <= most
    whole = np.mean([picture.in_image.all() for picture in pictures])
    assert 0.3 < whole < 0.95


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("mesh: link0, parts: [8, 9]", "mesh: link9, parts: [8, 9]", "no mesh 'link9'"),
        ("mesh: link5, parts: [1]", "mesh: link5, parts: [2]", "its parts are 0 to 1"),
        ("mesh: link5, parts: [1]", "mesh: link5, parts: [-1]", "its parts are 0 to 1"),
        ("panda_joint2:", "panda_joint9:", "no joint 'panda_joint9'"),
        ("panda_joint2: [-1.2, 1.2]", "panda_joint2: [-9, 1.2]", "-1.8326 to 1.8326"),
        ("field_of_view", "fov", "fov"),
    ],
)
def test_a_wrong_description_is_refused_in_one_line(
    shared_data: Path, tmp_path: Path, before: str, after: str, says: str
) -> None:
    with pytest.raises(SettingError) as refusal:
        Arm(described(shared_data, tmp_path, before, after))
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)
