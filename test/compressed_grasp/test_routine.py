"""Actions, the policies without a network, and the routine that clears a simulated table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from compressed_grasp.action import PUSH_LENGTH, Action, plan
from compressed_grasp.heightmap import HeightMap
from compressed_grasp.policies import (
    geometric_policy,
    grasp_room,
    random_grasp_policy,
    random_policy,
)
from compressed_grasp.routine import Episode, changed, run_episode, summarise
from compressed_grasp.simulation import SimulatedTable
from compressed_grasp.workspace import Workspace
from edge_worlds.tabletop.camera import REAL, oblique_camera
from edge_worlds.tabletop.scene import Scene, SceneObject, turn
from edge_worlds.tabletop.shapes import box
from edge_worlds.tabletop.world import TabletopWorld

if TYPE_CHECKING:
    from collections.abc import Sequence

SPACE = Workspace.square(112)
POLICIES = (random_policy, random_grasp_policy, geometric_policy)


def seen_from_above(*blocks: tuple[float, float, float, float, float]) -> HeightMap:
    """Heights of blocks (x, y, length along x, width along y, height) [m] on a bare table."""
    height = np.zeros(SPACE.shape, np.float32)
    middles = [SPACE.position(k, k)[0] for k in range(112)]
    x, y = np.meshgrid(middles, middles)
    for at_x, at_y, length, width, top in blocks:
        height[(np.abs(x - at_x) < length / 2) & (np.abs(y - at_y) < width / 2)] = top
    return HeightMap(height, np.zeros((*SPACE.shape, 3), np.uint8))


def block(x: float, y: float, yaw: float = 0.0) -> SceneObject:
    return SceneObject(box(0.04, 0.08, 0.05), (1, 0, 0), np.array([x, y, 0.025]), turn(2, yaw))


def test_a_grasp_goes_down_beside_the_object_and_never_into_the_table() -> None:
    seen = seen_from_above((0, 0, 0.04, 0.04, 0.09), (0.1, 0, 0.04, 0.04, 0.03))
    tall = plan("grasp", SPACE.cell(np.array([0.0, 0.0])), 3, seen, SPACE)
    assert tall.waypoints[1] == pytest.approx([0, 0, 0.05], abs=3e-3)
    assert tall.waypoints[0, 2] == tall.waypoints[2, 2] > 0.15
    low = plan("grasp", SPACE.cell(np.array([0.1, 0.0])), 3, seen, SPACE)
    assert 0 < low.waypoints[1, 2] < 0.01
    raised = Workspace.square(112, table=-0.3)
    assert -0.3 < plan("grasp", (5, 5), 0, seen, raised).waypoints[1, 2] < -0.29


def test_the_tool_points_down_with_x_along_the_action() -> None:
    action = plan("push", (40, 40), 5, seen_from_above(), SPACE)
    along = action.waypoints[2] - action.waypoints[1]
    assert np.linalg.norm(along) == pytest.approx(PUSH_LENGTH)
    assert action.rotation[:, 0] == pytest.approx(along / PUSH_LENGTH)
    assert action.rotation[:, 2] == pytest.approx([0, 0, -1])
    assert np.linalg.det(action.rotation) == pytest.approx(1)


def test_a_push_stays_in_the_workspace_and_above_what_is_there() -> None:
    seen = seen_from_above((0, 0, 0.04, 0.04, 0.05))
    for cell in ((0, 0), (111, 3), (60, 111), (56, 56)):
        for angle_index in range(16):
            push = plan("push", cell, angle_index, seen, SPACE)
            assert np.abs(push.waypoints[:, :2]).max() <= 0.224 + 1e-9
            assert push.waypoints[:, 2].min() > 0
    beside = plan("push", SPACE.cell(np.array([-0.026, 0.0])), 0, seen, SPACE)
    assert beside.waypoints[1, 2] > 0.05  # half the finger would come down on the block


def test_fingers_find_room_only_across_a_block_that_fits_between_them() -> None:
    room = grasp_room(seen_from_above((0, 0, 0.04, 0.16, 0.05)), SPACE)
    middle = SPACE.cell(np.array([0.0, 0.0]))
    assert room[(slice(None), *middle)].tolist() == [True] * 3 + [False] * 3 + [True] * 2
    crowded = seen_from_above((0, 0, 0.04, 0.04, 0.05), (0.07, 0, 0.06, 0.04, 0.05))
    assert not grasp_room(crowded, SPACE)[0][middle]
    assert grasp_room(crowded, SPACE)[4][middle]
    diagonal = seen_from_above((0, 0, 0.04, 0.04, 0.05), (0.045, 0.045, 0.04, 0.04, 0.05))
    assert not grasp_room(diagonal, SPACE)[2][middle]
    assert grasp_room(diagonal, SPACE)[6][middle]
    at_border = grasp_room(seen_from_above((0.19, 0, 0.04, 0.04, 0.05)), SPACE)
    border = SPACE.cell(np.array([0.19, 0.0]))
    assert not at_border[0][border]
    assert at_border[4][border]
    flat = seen_from_above((0, 0, 0.04, 0.04, 0.02))
    assert not grasp_room(flat, SPACE).any()


def test_policies_act_on_objects_and_do_nothing_on_a_bare_table() -> None:
    seen = seen_from_above((-0.1, 0.06, 0.05, 0.05, 0.05))
    rng = np.random.default_rng(0)
    for policy in POLICIES:
        assert policy(seen_from_above(), SPACE, rng, []) is None
        for _ in range(20):
            action = policy(seen, SPACE, rng, [])
            assert action is not None
            offset = np.abs(action.waypoints[1, :2] - (-0.1, 0.06)).max()
            assert offset < (0.03 if action.kind == "grasp" else 0.11)
    nothing = HeightMap(np.full(SPACE.shape, np.nan, np.float32), seen.color)
    assert all(policy(nothing, SPACE, rng, []) is None for policy in POLICIES)


def test_the_geometric_policy_does_not_repeat_what_changed_nothing() -> None:
    seen = seen_from_above((0, 0, 0.05, 0.05, 0.05))
    rng = np.random.default_rng(0)
    useless: list[Action] = []
    for _ in range(10):
        action = geometric_policy(seen, SPACE, rng, useless)
        assert action is not None
        assert (action.cell, action.angle_index) not in [(a.cell, a.angle_index) for a in useless]
        useless.append(action)


def test_the_geometric_policy_clears_single_blocks_also_with_a_real_camera() -> None:
    scene = Scene("blocks", (block(0, 0, 0.3), block(0.13, -0.1, 1.2), block(-0.12, 0.1)))
    rng = np.random.default_rng(1)
    table = SimulatedTable(TabletopWorld(scene), oblique_camera(320, 240), SPACE, REAL, rng)
    episode = run_episode(table, geometric_policy, SPACE, rng)
    assert episode.completed
    assert episode.successes == episode.objects == 3
    assert table.remaining == 0


def test_a_run_ends_after_ten_actions_that_change_nothing() -> None:
    def push_air(
        seen: HeightMap, workspace: Workspace, rng: np.random.Generator, useless: Sequence[Action]
    ) -> Action:
        del rng
        assert len(useless) < 10
        return plan("push", (5, 5), 0, seen, workspace)

    table = SimulatedTable(
        TabletopWorld(Scene("block", (block(0, 0),))), oblique_camera(160, 120), SPACE
    )
    episode = run_episode(table, push_air, SPACE, np.random.default_rng(0))
    assert episode == Episode(objects=1, pushes=10, grasps=0, successes=0)
    assert not episode.completed


def test_change_is_counted_in_area_whatever_the_resolution() -> None:
    for cells in (112, 224):
        space = Workspace.square(cells)
        before = np.zeros(space.shape, np.float32)
        color = np.zeros((*space.shape, 3), np.uint8)
        for side, expected in ((0.032, False), (0.037, True)):
            after = before.copy()
            count = round(side / space.resolution)
            after[:count, :count] = 0.05
            assert changed(HeightMap(before, color), HeightMap(after, color), space) == expected
            after[after > 0] = np.nan
            assert not changed(HeightMap(before, color), HeightMap(after, color), space)


def test_the_summary_is_vpgs_over_completed_runs_and_over_all() -> None:
    runs = [Episode(4, 1, 5, 4), Episode(4, 0, 4, 4), Episode(4, 2, 9, 1)]
    summary = summarise(runs)
    assert summary.completion == pytest.approx(2 / 3)
    assert summary.grasp_success == pytest.approx((4 / 5 + 1) / 2)
    assert summary.efficiency == pytest.approx((4 / 6 + 1) / 2)
    assert summary.grasp_success_of_all == pytest.approx(9 / 18)
    assert summary.efficiency_of_all == pytest.approx(9 / 21)
    assert np.isnan(summarise(runs[2:]).grasp_success)
