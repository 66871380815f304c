"""The table: objects rest, are pushed and grasped by a gripper that collides, states come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_runtime.errors import SettingError
from edge_worlds.tabletop.gripper import RG2
from edge_worlds.tabletop.packing import packed_blocks, tight_row
from edge_worlds.tabletop.scene import (
    HALF_WORKSPACE,
    Scene,
    SceneObject,
    packed_group,
    random_pile,
    read_scene,
    turn,
)
from edge_worlds.tabletop.shapes import Part, Shape, box, cylinder, prism, read_mesh
from edge_worlds.tabletop.world import TabletopWorld

if TYPE_CHECKING:
    from pathlib import Path

OBJECTS_IN_CASE = {"00": 4, "02": 3, "04": 5, "06": 3, "08": 6, "10": 4}


def put(shape: Shape, x: float, y: float, height: float, yaw: float = 0.0) -> SceneObject:
    return SceneObject(shape, (0.5, 0.5, 0.5), np.array([x, y, height / 2]), turn(2, yaw))


def world_of(*objects: SceneObject) -> TabletopWorld:
    return TabletopWorld(Scene("made", objects))


BLOCK = box(0.05, 0.08, 0.05)


@pytest.mark.parametrize("case", OBJECTS_IN_CASE)
def test_blocks_of_a_vpg_case_rest_where_the_file_puts_them(shared_data: Path, case: str) -> None:
    vpg = shared_data / "grasp" / "vpg"
    scene = read_scene(vpg / "test-cases" / f"test-10-obj-{case}.txt", vpg / "blocks")
    assert len(scene.objects) == OBJECTS_IN_CASE[case]

    world = TabletopWorld(scene)

    # What floats falls, and what cuts into another is thrown out of it.
    moved = world.positions - [each.position for each in scene.objects]
    assert np.linalg.norm(moved, axis=1).max() < 1e-3
    assert np.abs(world.lowest()).max() < 1e-3
    assert world.settle(0.5)


def test_a_concave_mesh_keeps_its_hollow(shared_data: Path) -> None:
    bridge = read_mesh(shared_data / "grasp" / "vpg" / "blocks" / "1.obj")
    assert 2 < len(bridge.parts) < 8
    filled = Shape("filled", (Part("hull", vertices=bridge.points()),))
    bar = put(cylinder(0.008, 0.02), 0, 0, 0.02)
    moved = []
    for shape in (bridge, filled):
        world = world_of(SceneObject(shape, (1, 0, 0), np.array([0, 0, 0.025]), np.eye(3)), bar)
        moved.append(np.abs(world.positions - ((0, 0, 0.025), bar.position)).max())
    assert moved[0] < 0.5e-3 < moved[1]


@pytest.mark.parametrize("angle", [0.0, np.pi / 8, -np.pi / 4])
def test_a_block_along_the_jaws_is_lifted_and_across_them_is_not(angle: float) -> None:
    long = box(0.04, 0.12, 0.05)
    world = world_of(put(long, 0.05, -0.02, 0.05, angle))
    state = world.save()
    across = world.grasp(np.array([0.05, -0.02, 0.01]), angle + np.pi / 2)
    assert not across.success
    assert across.stopped
    assert world.present.all()
    world.restore(state)
    along = world.grasp(np.array([0.05, -0.02, 0.01]), angle)
    assert along.taken == 0
    assert not along.stopped
    assert along.opening == pytest.approx(0.04, abs=2e-3)
    assert not world.present.any()


def test_an_empty_grasp_and_one_from_too_high_hold_nothing() -> None:
    world = world_of(put(BLOCK, 0, 0, 0.05))
    empty = world.grasp(np.array([0.15, 0.15, 0.01]), 0.0)
    assert not empty.success
    assert empty.opening < 2e-3
    assert not world.grasp(np.array([0, 0, 0.06]), 0.0).success


def test_a_finger_that_comes_down_on_a_neighbour_stops_there() -> None:
    wall = put(box(0.05, 0.1, 0.06), 0.06, 0, 0.06)
    target = put(box(0.04, 0.04, 0.04), 0, 0, 0.04)
    world = world_of(target, wall)
    state = world.save()
    blocked = world.grasp(np.array([0, 0, 0.01]), 0.0)
    assert blocked.stopped
    assert not blocked.success
    world.restore(state)
    assert world.grasp(np.array([0, 0, 0.01]), np.pi / 2).taken == 0


def test_the_palm_keeps_the_fingers_from_reaching_down_a_tall_object() -> None:
    tall = box(0.04, 0.04, 0.1)
    world = world_of(put(tall, 0, 0, 0.1))
    assert world.lift(np.array([0, 0, 0.005]), 0.0)
    assert world_of(put(tall, 0, 0, 0.1)).grasp(np.array([0, 0, 0.05]), 0.0).success


def test_a_held_block_does_not_creep() -> None:
    world = world_of(put(BLOCK, 0, 0, 0.05))
    world.lift(np.array([0, 0.0, 0.01]), 0.0)
    world.wait(0.3)
    before = world.positions[0]
    assert before[2] > 0.1
    world.wait(2.0)
    assert np.abs(world.positions[0] - before).max() < 20e-6


def test_jaws_that_lose_their_hold_close_at_their_own_speed() -> None:
    """A spring that snaps shut would shoot blocks across the table."""
    world = world_of(put(BLOCK, 0, 0, 0.05))
    world.lift(np.array([0, 0.0, 0.01]), 0.0)
    jaw = world.data.joint("left_finger")
    before = jaw.qpos[0]
    since = world.data.time
    world.take_away(0)
    passed = world.data.time - since
    assert 0.005 < before - jaw.qpos[0] < 1.05 * world.gripper.speed * passed


@pytest.mark.parametrize("index", [0, 3, 10])
def test_a_push_moves_what_is_in_its_way_along_its_angle(index: int) -> None:
    angle = index * 2 * np.pi / 16
    along = np.array([np.cos(angle), np.sin(angle)])
    world = world_of(put(box(0.04, 0.04, 0.04), 0, 0, 0.04, angle), put(BLOCK, 0.15, -0.15, 0.05))
    elsewhere = world.positions[1]
    # The finger's face is 1 cm ahead of the tool centre, and the block's 2 cm before its middle.
    assert world.push(np.array([*(-0.05 * along), 0.005]), angle)
    moved = world.positions[0][:2]
    assert moved @ along == pytest.approx(0.08, abs=6e-3)
    assert abs(moved @ (-along[1], along[0])) < 5e-3
    assert world.positions[1] == pytest.approx(elsewhere, abs=1e-4)


def test_a_state_comes_back_and_the_future_with_it() -> None:
    world = TabletopWorld(packed_group(np.random.default_rng(4), 4))
    state = world.save()
    futures = []
    for _ in range(2):
        world.restore(state)
        assert world.present.all()
        start = world.positions
        world.push(np.array([*start[0][:2] - (0.06, 0), 0.005]), 0.0)
        grasp = world.grasp(np.array([*world.positions[1][:2], 0.01]), 0.4)
        futures.append((start, world.positions, grasp))
    assert np.array_equal(futures[0][0], futures[1][0])
    assert np.array_equal(futures[0][1], futures[1][1], equal_nan=True)
    assert futures[0][2] == futures[1][2]
    assert not np.array_equal(futures[0][0], futures[0][1], equal_nan=True)


def test_a_grasped_object_comes_back_with_its_state() -> None:
    world = world_of(put(BLOCK, 0, 0, 0.05), put(BLOCK, 0.12, 0, 0.05))
    state = world.save()
    assert world.grasp(np.array([0, 0, 0.01]), 0.0).taken == 0
    assert np.isnan(world.positions[0]).all()
    assert world.in_workspace(0.224).tolist() == [False, True]
    world.restore(state)
    assert world.grasp(np.array([0, 0, 0.01]), 0.0).taken == 0


def test_piles_are_the_same_for_a_seed_and_rest_on_the_table() -> None:
    first, again, other = (
        TabletopWorld(random_pile(np.random.default_rng(seed), 6)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first.positions, again.positions)
    assert not np.array_equal(first.positions, other.positions)
    assert first.present.all()
    assert first.lowest().min() > -1e-3


def test_a_packed_group_stands_as_drawn() -> None:
    for seed in range(4):
        scene = packed_group(np.random.default_rng(seed), 5)
        world = TabletopWorld(scene)
        moved = world.positions - [each.position for each in scene.objects]
        assert np.abs(moved).max() < 1e-3
        assert world.in_workspace(0.224).all()


def test_what_lay_on_a_grasped_object_falls() -> None:
    plate = SceneObject(box(0.06, 0.1, 0.02), (1, 0, 0), np.array([0, 0, 0.05]), np.eye(3))
    world = world_of(put(box(0.03, 0.03, 0.04), 0, 0, 0.04), plate)
    world.wait(1.0)
    assert world.lowest()[1] == pytest.approx(0.04, abs=1e-3)
    world.take_away(0)
    assert world.lowest()[1] == pytest.approx(0.0, abs=1e-3)


def test_what_falls_off_the_table_is_gone() -> None:
    world = world_of(put(BLOCK, 0, 0, 0.05), put(prism(3, 0.03, 0.05), 0.65, 0, 0.05))
    assert world.present.tolist() == [True, False]


def test_broken_scene_files_are_refused_by_line(shared_data: Path, tmp_path: Path) -> None:
    vpg = shared_data / "grasp" / "vpg"
    lines = (vpg / "test-cases" / "test-10-obj-00.txt").read_text().splitlines()
    spoilt = {
        "no mesh 'cup.obj'": lines[0].replace("0.obj", "cup.obj"),
        "finite numbers": lines[0].rsplit(" ", 1)[0] + " nan",
        "9 finite numbers": lines[0].rsplit(" ", 1)[0],
    }
    for reason, line in spoilt.items():
        file = tmp_path / "scene.txt"
        file.write_text("\n".join([*lines[1:], line]))
        with pytest.raises(SettingError, match=f"line 10: .*{reason}"):
            read_scene(file, vpg / "blocks")
    file.write_text(lines[3])  # a spare one, beside the workspace
    with pytest.raises(SettingError, match="no object in the workspace"):
        read_scene(file, vpg / "blocks")
    with pytest.raises(SettingError, match="cannot be read"):
        read_scene(tmp_path / "none.txt", vpg / "blocks")
    broken = tmp_path / "broken.obj"
    broken.write_text("v 0 0 0\nv 1 0 0\nf 1 2 3")
    with pytest.raises(SettingError, match="vertex that is not there"):
        read_mesh(broken)
    with pytest.raises(SettingError, match="no object"):
        TabletopWorld(Scene("empty", ()))


def test_packed_blocks_stand_against_each_other_and_stay_there() -> None:
    stayed = 0
    for seed in range(8):
        scene = packed_blocks(np.random.default_rng(seed), 4, loose=1)
        start = np.array([each.position for each in scene.objects])
        world = TabletopWorld(scene)
        assert world.in_workspace(HALF_WORKSPACE).all()
        stayed += np.abs(world.positions - start).max() < 2e-3
        distances = np.linalg.norm(start[:4, None, :2] - start[None, :4, :2], axis=-1)
        assert np.sort(distances, axis=1)[:, 1].max() < 0.13  # each has a neighbour
    assert stayed >= 5  # the others roll or fall over, as round and narrow ones do


@pytest.mark.parametrize("count", [2, 5])
def test_a_box_of_a_tight_row_can_be_grasped_when_it_was_pushed_out(count: int) -> None:
    scene = tight_row(np.random.default_rng(count), count)
    world = TabletopWorld(scene)
    assert np.abs(world.positions - [each.position for each in scene.objects]).max() < 1e-3
    corners = [each.shape.points() @ each.rotation.T + each.position for each in scene.objects]
    assert np.abs(np.concatenate(corners)[:, :2]).max() < HALF_WORKSPACE
    length, width, height = np.ptp(scene.objects[1].shape.points(), axis=0)
    beside = np.ptp(scene.objects[0].shape.points(), axis=0)[1]
    assert width < RG2.opening < min(length, width + beside)
    along, across = scene.objects[1].rotation[:, 0], scene.objects[1].rotation[:, 1]
    angle = float(np.arctan2(across[1], across[0]))
    middle = np.array([*world.positions[1, :2], height - 0.03])

    assert world.grasp(middle, angle).stopped

    world.push(middle * (1, 1, 0) + (0, 0, 0.01) - (length / 2 + 0.02) * along, angle - np.pi / 2)
    out = np.array([*world.positions[1, :2], height - 0.03]) + (length / 2 - 0.025) * along
    assert world.grasp(out, angle).taken == 1
