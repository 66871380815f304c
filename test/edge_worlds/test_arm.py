from __future__ import annotations

import os
import resource
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

pytest.importorskip("mujoco", reason="mujoco comes with the extra [train]")

import mujoco

from edge_runtime.errors import SettingError
from edge_worlds.arm.dataset import ImageSource, NegativeSource, image_set
from edge_worlds.arm.model import DESK_ARM, Arm, read_description
from edge_worlds.arm.paint import Paint, apply_paint
from edge_worlds.arm.renderer import cast
from edge_worlds.arm.scene import LabelledImage, SceneSampler

if TYPE_CHECKING:
    from pathlib import Path

PANDA = """
name: panda
model: {urdf}
keypoints:
  - {{name: base, frame: panda_link0}}
  - {{name: shoulder, frame: panda_link2}}
  - {{name: upper_arm, frame: panda_link3}}
  - {{name: elbow, frame: panda_link4}}
  - {{name: forearm, frame: panda_link5}}
  - {{name: wrist, frame: panda_link6}}
  - {{name: flange, frame: panda_link7}}
  - {{name: hand, frame: panda_hand}}
reference_link: [base, shoulder]
"""


def draw(arm: Arm, seed: int, **options: object) -> LabelledImage:
    return SceneSampler(arm, (256, 192), **options).sample(np.random.default_rng(seed))


def panda(shared_data: Path, folder: Path) -> Arm:
    path = folder / "panda.yaml"
    path.write_text(PANDA.format(urdf=shared_data / "pose" / "panda" / "panda.urdf"))
    return Arm(path)


def surface_before_keypoints(image: LabelledImage) -> np.ndarray:
    """By how many metres the first surface lies before each keypoint that nothing hides."""
    seen = image.in_image & ~image.hidden
    columns, rows = np.rint(image.keypoints[seen]).astype(int).T
    return image.positions[seen, 2] - image.depth[rows, columns]


def test_labels_lie_on_the_arm_in_the_depth_image() -> None:
    arm = Arm()
    before = np.concatenate([surface_before_keypoints(draw(arm, seed)) for seed in range(12)])
    # A keypoint is inside a link: its skin is a little nearer to the camera, never far behind
    # (the tip lies between the fingers, in the air). Other links may stand before it.
    assert np.mean((before > -0.02) & (before < 0.08)) > 0.75
    assert (before < 0).mean() < 0.2


def test_the_panda_renders_through_the_same_road(shared_data: Path, tmp_path: Path) -> None:
    arm = panda(shared_data, tmp_path)
    before = np.concatenate([surface_before_keypoints(draw(arm, seed)) for seed in range(4)])
    assert np.mean((before > -0.02) & (before < 0.2)) > 0.7


def test_the_pandas_kinematics_agree_with_the_real_photos(
    shared_data: Path, tmp_path: Path
) -> None:
    import json

    arm = panda(shared_data, tmp_path)
    labels = json.loads((shared_data / "pose" / "franka" / "keypoints.json").read_text())
    to_camera = np.array(labels["camera_T_base"])
    frame_of = {k.frame: i for i, k in enumerate(arm.description.keypoints)}
    for frame in labels["frames"]:
        arm.pose(np.array([*frame["q_used"], 0.0, 0.0]))
        local = arm.keypoints() @ to_camera[:3, :3].T + to_camera[:3, 3]
        for point in frame["keypoints"]:
            assert local[frame_of[point["name"]]] == pytest.approx(point["location"], abs=2e-3)


def test_the_same_seed_gives_the_same_picture_and_another_seed_another() -> None:
    first, again, other = draw(Arm(), 5), draw(Arm(), 5), draw(Arm(), 6)
    assert np.array_equal(first.bgr, again.bgr)
    assert np.array_equal(first.keypoints, again.keypoints)
    assert not np.array_equal(first.bgr, other.bgr)


def test_photographs_become_backdrops(tmp_path: Path) -> None:
    magenta = np.full((100, 150, 3), (255, 0, 255), np.uint8)
    cv2.imwrite(str(tmp_path / "wall.png"), magenta)
    arm = Arm()
    pictures = [draw(arm, seed, backgrounds=tmp_path).bgr.astype(int) for seed in range(8)]
    magenta_share = [
        ((p[..., 0] > 90) & (p[..., 1] < 60) & (p[..., 2] > 90)).mean() for p in pictures
    ]
    assert max(magenta_share) > 0.5
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SettingError, match="no photograph"):
        SceneSampler(arm, (64, 64), empty)


def test_a_set_grows_and_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    source = ImageSource(DESK_ARM, 32, 0)
    small = image_set(source, 3, tmp_path)
    assert len(small) == 3
    first = small.bgr(2).copy()
    shard = next(tmp_path.glob("arm/*/00000"))
    before = shard.stat().st_mtime_ns
    grown = image_set(source, 260, tmp_path)
    assert len(grown) == 260
    assert shard.stat().st_mtime_ns == before
    assert np.array_equal(grown.bgr(2), first)
    shutil.rmtree(shard)
    assert np.array_equal(image_set(source, 3, tmp_path).bgr(2), first)
    assert replace(source, seed=1).digest() != source.digest()


def test_pictures_without_the_arm_are_of_its_scenes_of_rooms_and_of_photographs(
    tmp_path: Path,
) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((64, 64, 3), (200, 0, 200), np.uint8))
    source = NegativeSource(DESK_ARM, 32, 0, (tmp_path,))

    negatives = image_set(source, 60, tmp_path / "cache")

    assert not negatives.in_image.any()
    pictures = np.stack([negatives.bgr(k) for k in range(60)])
    blue, green, red = np.moveaxis(pictures.reshape(60, -1, 3).mean(axis=1), 1, 0)
    magenta = (blue > 90) & (green < 60) & (red > 90)
    assert 10 < magenta.sum() < 30
    others = pictures[~magenta]
    assert len(np.unique(others.reshape(len(others), -1), axis=0)) == len(others)
    again = NegativeSource(DESK_ARM, 32, 0, (tmp_path,)).sampler(0)
    assert np.array_equal(again.sample(np.random.default_rng((0, 7))).bgr, pictures[7])
    assert NegativeSource(DESK_ARM, 32, 0).digest() != source.digest()


def test_an_invisible_arm_leaves_its_scene() -> None:
    arm = Arm()
    camera = draw(arm, 0).camera
    assert np.isin(cast(arm, camera).geom, arm.geoms).any()
    arm.make_invisible()
    assert not np.isin(cast(arm, camera).geom, arm.geoms).any()
    assert (cast(arm, camera).geom == arm.floor).any()


def test_the_digest_of_a_set_tells_photographs_of_the_same_name_and_size_apart(
    tmp_path: Path,
) -> None:
    source = ImageSource(DESK_ARM, 32, 0, tmp_path)
    photo = tmp_path / "wall.png"
    photo.write_bytes(b"bricks")
    bricks = source.digest()
    assert source.digest() == bricks
    photo.write_bytes(b"planks")
    os.utime(photo, ns=(0, 0))
    assert source.digest() != bricks
    photo.write_bytes(b"bricks")
    assert source.digest() == bricks


BRANCH = """<mujocoinclude><asset>
  <mesh name="shell" file="shells/shell.obj"/>
  <texture name="skin" type="2d" file="skin.png"/>
</asset></mujocoinclude>"""
TRUNK = """<mujoco>
  <compiler meshdir=".." texturedir="skins"/>
  <include file="branch.xml"/>
  <worldbody><body name="base"><geom type="mesh" mesh="shell"/></body></worldbody>
</mujoco>"""


def test_the_digest_of_a_set_is_of_the_arms_own_files(tmp_path: Path) -> None:
    home = tmp_path / "arm"
    files = {
        home / "arm.yaml": DESK_ARM.read_text().replace("arm.xml", "trunk.xml"),
        home / "trunk.xml": TRUNK,
        home / "branch.xml": BRANCH,
        home / "skins" / "skin.png": "red",
        tmp_path / "shells" / "shell.obj": "v 0 0 0",
    }
    for path, content in files.items():
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(content)
    source = ImageSource(home / "arm.yaml", 32, 0)
    before = source.digest()

    # What a run leaves beside the arm is none of them.
    (home / "output").mkdir()
    (home / "output" / "state.pt").write_text("half a training")
    (home / "run.log").write_text("step 1")
    assert source.digest() == before
    for path, content in files.items():
        path.write_text(content + "\n")
        assert source.digest() != before, path
        path.write_text(content)
    assert source.digest() == before


def test_sets_that_were_rendered_are_found_again() -> None:
    assert ImageSource(DESK_ARM, 256, 1).digest() == "0affe45c5c907cbb"


def test_a_full_disk_names_the_cache_and_the_remedy(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A file that grows beyond it cannot be written any further, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100 * 1024, hard))
    try:
        with pytest.raises(SettingError) as refusal:
            image_set(ImageSource(DESK_ARM, 32, 0), 1, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    says = str(refusal.value)
    assert f"cannot be kept in {tmp_path / 'arm'}" in says
    assert "(File too large)" in says
    assert "XDG_CACHE_HOME" in says
    assert not list(tmp_path.glob("arm/*/*"))


def test_two_processes_may_render_the_same_set(tmp_path: Path) -> None:
    source = ImageSource(DESK_ARM, 32, 0)
    with ThreadPoolExecutor() as pool:
        ours, theirs = pool.map(lambda _: image_set(source, 2, tmp_path), range(2))
    assert np.array_equal(ours.bgr(1), theirs.bgr(1))


@pytest.mark.parametrize(
    "orientation",
    ["euler='0 0 90'", "axisangle='0 0 1 90'", "xyaxes='0 1 0 -1 0 0'", "quat='1 0 0 1'"],
)
def test_paint_keeps_orientations_and_the_material_of_what_it_leaves(orientation: str) -> None:
    spec = mujoco.MjSpec.from_string(f"""<mujoco>
      <asset>
        <mesh name="two" vertex="0 0 0 .3 0 0 0 .2 0 0 0 .1 1 0 0 1.3 0 0 1 .2 0 1 0 .1"
          face="0 2 1 0 1 3 0 3 2 1 2 3 4 6 5 4 5 7 4 7 6 5 6 7"/>
        <material name="red" rgba="1 0 0 1"/>
      </asset>
      <worldbody><frame pos="0 0 1">
        <geom name="whole" type="mesh" mesh="two" {orientation} material="red"/>
      </frame></worldbody>
    </mujoco>""")
    whole = _corners(spec.compile())

    apply_paint(spec, [Paint(mesh="two", parts=(0,), colour=(0, 1, 0))])

    model = spec.compile()
    assert model.ngeom == 2
    assert _corners(model) == pytest.approx(whole, abs=1e-5)
    plain, painted = sorted(range(2), key=lambda geom: model.geom_matid[geom], reverse=True)
    assert model.mat(model.geom_matid[plain]).name == "red"
    assert model.geom_matid[painted] == -1
    assert list(model.geom_rgba[painted]) == [0, 1, 0, 1]


def test_materials_colour_what_has_no_colour_of_its_own(tmp_path: Path) -> None:
    shutil.copy(DESK_ARM, tmp_path)
    text = read_description(DESK_ARM).model.read_text()
    asset = '<asset><material name="teal" rgba="0 0.5 0.5 1"/></asset>'
    text = text.replace("<default>", f"{asset}<default>", 1).replace(
        'rgba="0.86 0.86 0.84 1"', 'material="teal"'
    )
    (tmp_path / "arm.xml").write_text(text)

    colours = Arm(tmp_path / DESK_ARM.name).model.geom_rgba[:, :3].tolist()

    assert pytest.approx([0, 0.5, 0.5]) in colours
    assert pytest.approx([0.90, 0.42, 0.10]) in colours
    assert pytest.approx([0.5, 0.5, 0.5]) not in colours


def _corners(model: mujoco.MjModel) -> np.ndarray:
    """All vertices of all meshes in the world, sorted, (n, 3) metres."""
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    corners = []
    for geom in range(model.ngeom):
        mesh = model.geom_dataid[geom]
        first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
        local = model.mesh_vert[first : first + count]
        corners.append(local @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom])
    found = np.concatenate(corners).round(5)
    return found[np.lexsort(found.T)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("frame: tip", "frame: claw"), "no frame 'claw'; its frames are base, turret"),
        (("  - {name: tip, frame: tip}\n", ""), "keypoints"),
        (("[base, shoulder]", "[base, knee]"), "'knee' is not among"),
        (("model: arm.xml", "model: none.xml"), "none.xml"),
        (("name: desk_arm", "nmae: desk_arm"), "nmae"),
    ],
)
def test_bad_descriptions_are_refused_in_one_line(
    tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    path = tmp_path / "arm.yaml"
    path.write_text(DESK_ARM.read_text().replace(*change))
    shutil.copy(read_description(DESK_ARM).model, tmp_path)
    with pytest.raises(SettingError) as refusal:
        Arm(path)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)
