"""Robot models as users have them: what of them is seen, and what of them is no matter."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="mujoco comes with the extra [train]")

import mujoco

from edge_runtime.errors import SettingError
from edge_worlds.arm.dataset import ImageSource, image_set
from edge_worlds.arm.model import Arm
from edge_worlds.arm.renderer import cast
from edge_worlds.arm.scene import SceneSampler
from edge_worlds.camera import Camera, look_at

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NAMES = ["base", *(f"link{k}" for k in range(1, 8))]
THIN, FAT = '<box size="0.04 0.04 0.15"/>', '<cylinder radius="0.06" length="0.15"/>'
MESH = '<mesh filename="{}" scale="0.001 0.001 0.001"/>'
PACKAGE = "package://acme_description/meshes/link.stl"


def urdf(*, visual: str = "", collision: str = "", inertial: str = "") -> str:
    """A chain of eight links along z."""
    shapes = "".join(
        f'<{kind} name="shape"><origin xyz="0 0 0.07"/><geometry>{shape}</geometry></{kind}>'
        for kind, shape in (("visual", visual), ("collision", collision))
        if shape
    )
    links = "".join(f'<link name="{name}">{inertial}{shapes}</link>' for name in NAMES)
    joints = "".join(
        f'<joint name="j{k}" type="revolute"><parent link="{NAMES[k - 1]}"/>'
        f'<child link="{NAMES[k]}"/><origin xyz="0 0 0.12"/><axis xyz="0 {k % 2} {1 - k % 2}"/>'
        '<limit lower="-1" upper="1" effort="1" velocity="1"/></joint>'
        for k in range(1, 8)
    )
    return f'<robot name="chain">{links}{joints}</robot>'


def mjcf(*geoms: str) -> str:
    """The same chain, each body with these geoms."""
    chain = ""
    for k in reversed(range(8)):
        joint = f'<joint name="j{k}" axis="0 {k % 2} {1 - k % 2}" range="-57 57"/>' if k else ""
        own = "".join(f'<geom pos="0 0 0.07" {geom}/>' for geom in geoms)
        chain = f'<body name="{NAMES[k]}" pos="0 0 0.12">{joint}{own}{chain}</body>'
    return f"<mujoco><worldbody>{chain}</worldbody></mujoco>"


def described(folder: Path, model: str, name: str = "arm.urdf") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(model)
    keypoints = "".join(f"  - {{name: {each}, frame: {each}}}\n" for each in NAMES)
    path = folder / "arm.yaml"
    path.write_text(
        f"name: chain\nmodel: {name}\nkeypoints:\n{keypoints}reference_link: [base, link2]\n"
    )
    return path


def box_stl(side: float) -> bytes:
    """A tetrahedron with edges of `side` millimetres along the axes."""
    corners = side * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    stl = np.zeros(4, [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    stl["corners"] = corners[[[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]]
    return bytes(80) + len(stl).to_bytes(4, "little") + stl.tobytes()


def view(path: Path) -> NDArray[np.float64]:
    """Depth [m] of the bent arm from the side, (120 * 120,)."""
    arm = Arm(path)
    arm.pose(np.linspace(-0.4, 0.6, 7))
    matrix = np.array([[90.0, 0, 59.5], [0, 90.0, 59.5], [0, 0, 1]])
    eye, middle = np.array([0.2, -1.3, 0.8]), np.array([0.0, 0.0, 0.5])
    return cast(arm, Camera(matrix, look_at(eye, middle), 120, 120)).depth


VISUAL = 'type="box" size="0.02 0.02 0.075" contype="0" conaffinity="0"'


@pytest.mark.parametrize(
    ("name", "both", "visual"),
    [
        ("arm.urdf", urdf(visual=THIN, collision=FAT), urdf(visual=THIN)),
        ("arm.urdf", urdf(visual=FAT, collision=THIN), urdf(visual=FAT)),
        (
            "menagerie.xml",
            mjcf(f'{VISUAL} group="2"', 'type="cylinder" size="0.06 0.075" group="3"'),
            mjcf(VISUAL),
        ),
        (
            "robosuite.xml",
            mjcf(f'{VISUAL} group="1"', 'type="cylinder" size="0.06 0.075" group="0"'),
            mjcf(VISUAL),
        ),
    ],
    ids=["fat_collision", "thin_collision", "menagerie", "robosuite"],
)
def test_what_is_rendered_is_what_a_person_sees(
    tmp_path: Path, name: str, both: str, visual: str
) -> None:
    seen = view(described(tmp_path / "visual", visual, name))
    assert np.array_equal(view(described(tmp_path / "both", both, name)), seen)
    floor = view(described(tmp_path / "other", mjcf('size="0.001"'), "dots.xml"))
    assert (seen < floor).mean() > 0.005


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("arm.urdf", urdf(collision=FAT)),
        ("arm.urdf", urdf()),
        ("arm.xml", mjcf('size="0.05" group="3"')),
        ("arm.xml", mjcf('size="0.05" rgba="1 1 1 0"')),
    ],
)
def test_an_arm_with_nothing_to_see_is_refused_before_anything_is_rendered(
    tmp_path: Path, name: str, model: str
) -> None:
    source = ImageSource(described(tmp_path, model, name), 32, 0)
    with pytest.raises(SettingError, match=f"{name}' has nothing to see: give its links <visual>"):
        image_set(source, 1, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "name",
    ["coarse_collision", "visual_only", "no_inertial", "package_uri", "package_uri_flat", "mimic"],
)
def test_ordinary_urdfs_load(shared_data: Path, name: str) -> None:
    arm = Arm(shared_data / "field" / "arms" / name / "arm.yaml")
    image = SceneSampler(arm, (64, 64)).sample(np.random.default_rng(0))
    assert image.in_image.any()
    if name == "mimic":
        assert image.joints[-1] == image.joints[-2] != 0


@pytest.mark.parametrize(
    "content",
    ['<mass value="-1"/>', '<mass value="1"/><inertia ixx="9" ixy="0" ixz="0" iyy="1" izz="1"/>'],
)
def test_masses_are_no_matter(tmp_path: Path, content: str) -> None:
    inertial = f"<inertial>{content}</inertial>"
    with_mass = described(tmp_path / "mass", urdf(visual=THIN, inertial=inertial))
    assert np.array_equal(view(with_mass), view(described(tmp_path, urdf(visual=THIN))))


@pytest.mark.parametrize(
    ("address", "urdf_in", "mesh"),
    [
        (PACKAGE, "ws/acme_description/urdf", "ws/acme_description/meshes/link.stl"),
        (PACKAGE, "ws/acme_bringup/urdf", "ws/acme_description/meshes/link.stl"),
        (PACKAGE, "checkout/urdf", "checkout/meshes/link.stl"),
        (PACKAGE, "flat", "flat/link.stl"),
        (PACKAGE, "arm", "install/share/acme_description/meshes/link.stl"),
        ("file://{}/an%20arm/link.stl", "arm", "an arm/link.stl"),
        ("/home/somebody/else/link.stl", "arm", "arm/link.stl"),
        ("../meshes/link.stl", "urdf", "meshes/link.stl"),
        ("link.dae", "arm", "arm/link.stl"),
    ],
)
def test_meshes_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, urdf_in: str, mesh: str
) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "install"))
    shape = MESH.format(address.format(tmp_path))
    path = described(tmp_path / urdf_in, urdf(visual=shape, collision=shape))
    (tmp_path / mesh).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / mesh).write_bytes(box_stl(100))
    before = ImageSource(path, 32, 0).digest()
    arm = Arm(path)
    assert len(arm.geoms) == len(NAMES)
    assert np.all(arm.model.geom_type[arm.geoms] == mujoco.mjtGeom.mjGEOM_MESH)
    (tmp_path / mesh).write_bytes(box_stl(101))
    assert ImageSource(path, 32, 0).digest() != before


def test_meshes_of_one_name_and_stl_in_text_are_what_they_are(tmp_path: Path) -> None:
    small, large = (MESH.format(f"{kind}/link.stl") for kind in ("visual", "collision"))
    path = described(tmp_path, urdf(visual=small, collision=large))
    for kind, side in (("visual", 60), ("collision", 200)):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "link.stl").write_bytes(box_stl(side))
    seen = view(path)
    corners = np.frombuffer(box_stl(60)[84:], [("n", "<f4", 3), ("c", "<f4", 9), ("a", "<u2")])["c"]
    facets = "".join(
        "facet normal 0 0 0\nouter loop\n"
        + "".join("vertex {} {} {}\n".format(*corner) for corner in facet.reshape(3, 3))
        + "endloop\nendfacet\n"
        for facet in corners
    )
    (tmp_path / "visual" / "link.stl").write_text(f"solid arm\n{facets}endsolid arm\n")
    assert np.array_equal(view(path), seen)
    assert np.array_equal(view(described(tmp_path, urdf(visual=small))), seen)


@pytest.mark.parametrize(
    ("model", "mesh", "says"),
    [
        (urdf(visual=MESH.format(PACKAGE)), None, r"package 'acme_description' in no ROS .*source"),
        (urdf(visual=MESH.format("a.dae")), b"<COLLADA/>", r"a\.dae' is none of .*assimp export"),
        (urdf(visual=MESH.format("a.stl")), b"version https://git-lfs.g", "run `git lfs pull`"),
        (urdf(visual=MESH.format("a.stl")), b"solid a\nfacet normal", "cut off: export it again"),
        (urdf(visual='<box size="${w} 1 1"/>'), None, r"is xacro: expand it with `xacro arm\.urdf"),
        (urdf(visual=THIN)[:300], None, "is no XML"),
        (
            urdf(visual=THIN).replace('velocity="1"/>', 'velocity="1"/><mimic joint="j9"/>'),
            None,
            "'j1' mimics 'j9'",
        ),
        ("<sdf/>", None, "give a URDF or MJCF"),
    ],
    ids=["missing", "collada", "git_lfs", "cut_off", "xacro", "cut_urdf", "mimic", "sdf"],
)
def test_what_cannot_be_read_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, mesh: bytes | None, says: str
) -> None:
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    path = described(tmp_path, model)
    for name in re.findall(r'filename="(a\.\w+)"', model):
        (tmp_path / name).write_bytes(mesh or b"")
    with pytest.raises(SettingError, match=says) as refusal:
        Arm(path)
    assert "Error: " not in str(refusal.value).partition("(")[0]
    assert "\n" not in str(refusal.value)


def test_chains_of_joints_that_follow_others_move_together(tmp_path: Path) -> None:
    # The first follows the second, which follows the last.
    model = urdf(visual=THIN)
    for follower, mimic in (
        ('<joint name="j1" type="revolute">', '<mimic joint="j2" multiplier="-0.5"/>'),
        ('<joint name="j2" type="revolute">', '<mimic joint="j7" multiplier="0.5" offset="0.1"/>'),
    ):
        model = model.replace(follower, follower + mimic)
    arm = Arm(described(tmp_path, model))
    joints = arm.random_joints(np.random.default_rng(0))
    assert joints[1] == pytest.approx(0.5 * joints[6] + 0.1)
    assert joints[0] == pytest.approx(-0.5 * joints[1])
    assert joints[6] != 0


def test_free_bodies_stay_where_the_model_puts_them(tmp_path: Path) -> None:
    cube = '<body name="cube" pos="0.3 0 0.1"><freejoint/><geom size="0.02"/></body>'
    model = mjcf(VISUAL).replace("<worldbody>", f"<worldbody>{cube}")
    arm = Arm(described(tmp_path, model, "arm.xml"))
    first, second = (arm.random_joints(np.random.default_rng(seed)) for seed in range(2))
    assert first.shape == (14,)
    assert first[:7].tolist() == second[:7].tolist() == [0.3, 0, 0.1, 1, 0, 0, 0]
    assert not np.any(first[7:] == second[7:])


def test_no_ray_misses_what_it_should_hit(tmp_path: Path) -> None:
    path = described(tmp_path, urdf(visual=FAT, collision=THIN))
    arm = Arm(path)
    sampler = SceneSampler(arm, (32, 32))
    geom = np.zeros(1, np.int32)
    groups = np.array([1, 1, 1, 0, 0, 0], np.uint8)
    for seed in range(6):
        camera = sampler.sample(np.random.default_rng(seed)).camera
        found = cast(arm, camera).geom
        for direction, hit in zip(camera.rays(), found, strict=True):
            eye = camera.position
            mujoco.mj_ray(arm.model, arm.data, eye, direction, groups, True, -1, geom)  # noqa: FBT003
            assert geom[0] == hit
