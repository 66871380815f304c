"""The learned policy: whatever its network says, it does nothing that is not allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from compressed_grasp.heightmap import HeightMap
from compressed_grasp.q_policy import QPolicy
from compressed_grasp.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from compressed_grasp.action import Action

WORKSPACE = Workspace.square(112)


def seen(*blocks: tuple[int, int, int, int], height: float = 0.05) -> HeightMap:
    """A table with blocks, each rows from and to, columns from and to."""
    heights = np.zeros(WORKSPACE.shape, np.float32)
    for top, bottom, left, right in blocks:
        heights[top:bottom, left:right] = height
    return HeightMap(heights, np.zeros((*WORKSPACE.shape, 3), np.uint8))


class Network:
    """Q of noise, and of what a test wants."""

    def __init__(self, seed: int = 0) -> None:
        self.q = np.random.default_rng(seed).random((1, 32, 112, 112), np.float32) * 0.5

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        assert inputs["height"].shape == (1, 1, 112, 112)
        assert np.isfinite(inputs["height"]).all()
        return {"q": self.q}


def test_the_best_allowed_action_is_chosen_and_none_on_the_table_or_unseen_cells() -> None:
    network = Network()
    view = seen((50, 60, 70, 80))
    view.height[50:60, 70:74] = np.nan
    network.q[0, 16 + 3, 55, 77] = 0.7  # a grasp of the block
    network.q[0, 20, 10, 10] = 0.9  # of the bare table
    network.q[0, 20, 55, 72] = 0.95  # where nothing was seen
    network.q[0, 8, 55, 60] = 0.99  # a push away from the block
    network.q[0, 4, 55, 77] = 0.98  # over its top
    action = QPolicy(network).decide(view, WORKSPACE).action
    assert action is not None
    assert (action.kind, action.cell, action.angle_index) == ("grasp", (55, 77), 3)

    network.q[0, 0, 55, 60] = 0.8  # a push towards it
    decision = QPolicy(network, push_below=0.75).decide(view, WORKSPACE)
    assert decision.action is not None
    assert (decision.action.kind, decision.action.cell) == ("push", (55, 60))
    assert decision.value == pytest.approx(0.8)
    begin, end = decision.action.waypoints[1:3]
    assert end - begin == pytest.approx([0.1, 0, 0])
    # A grasp that is worth enough comes before any push.
    sure = QPolicy(network, push_below=0.65).decide(view, WORKSPACE).action
    assert sure is not None
    assert sure.cell == (55, 77)


def test_nothing_is_pushed_out_of_the_workspace() -> None:
    network, view = Network(), seen((50, 60, 80, 90))
    network.q[0, 0, 55, 76] = 0.9  # along x, to 42 mm from the border
    network.q[0, 4, 45, 85] = 0.8  # along y, to 170 mm from it
    decision = QPolicy(network, push_below=1.0).decide(view, WORKSPACE)
    assert decision.action is not None
    assert (decision.action.kind, decision.action.cell) == ("push", (45, 85))


def test_what_changed_nothing_is_not_repeated_until_nothing_is_left() -> None:
    network, view = Network(), seen((50, 54, 70, 74))
    policy = QPolicy(network, push_below=0.0)
    useless: list[Action] = []
    while (action := policy.decide(view, WORKSPACE, useless).action) is not None:
        for other in useless:
            apart = np.linalg.norm(action.waypoints[1] - other.waypoints[1])
            turn = abs(action.angle_index - other.angle_index) % 8
            assert apart > 0.015 or 1 < turn < 7
        useless.append(action)
    assert 2 <= len(useless) <= 8
    assert "nothing left" in policy.decide(view, WORKSPACE, useless).reason


def test_a_failure_speaks_against_what_is_near_and_alike() -> None:
    network, view = Network(), seen((40, 70, 40, 70), (10, 16, 10, 16))
    network.q[:] = 0.0
    for channel, row, column, value in ((19, 55, 50, 0.9), (19, 55, 56, 0.8), (23, 55, 56, 0.7)):
        network.q[0, channel, row, column] = value
    network.q[0, 19, 13, 13] = 0.6  # of another object
    policy = QPolicy(network, push_below=0.0)
    useless: list[Action] = []
    for channel, cell in ((19, (55, 50)), (23, (55, 56)), (19, (13, 13)), (19, (55, 56))):
        decision = policy.decide(view, WORKSPACE, useless)
        assert decision.action is not None
        assert (16 + decision.action.angle_index, decision.action.cell) == (channel, cell)
        assert decision.value == network.q[0, channel][cell]
        useless.append(decision.action)


def test_what_is_too_tall_is_kept_clear_of() -> None:
    view = seen((50, 60, 70, 80))
    rows, columns = np.mgrid[:40, :30]
    # An arm with a low rim; and high above the block, its end.
    view.height[:40, :30] = np.minimum(0.35, 0.02 * np.minimum(40 - rows, 30 - columns))
    view.height[50:54, 70:74] = 0.3
    for seed in range(20):
        action = QPolicy(Network(seed), max_object_height=0.2).decide(view, WORKSPACE).action
        assert action is not None
        row, column = action.cell
        if action.kind == "grasp":
            assert 54 <= row < 60 or 74 <= column < 80
            assert 50 <= row < 60
            assert 70 <= column < 80
        else:
            for share in np.linspace(0, 1, 50):
                point = action.waypoints[1] + share * (action.waypoints[2] - action.waypoints[1])
                row, column = WORKSPACE.cell(point)
                assert not (row < 40 and column < 30)
    view.height[50:60, 70:80] = 0
    decision = QPolicy(Network(), max_object_height=0.2).decide(view, WORKSPACE)
    assert decision.reason.startswith("empty")


def test_the_reason_says_why_there_is_nothing_to_do() -> None:
    policy = QPolicy(Network(), min_q=0.6, min_coverage=0.3)
    assert policy.decide(seen(), WORKSPACE).reason.startswith("empty")
    noise = seen()
    noise.height[::4, ::4] = 0.05
    assert policy.decide(noise, WORKSPACE).reason.startswith("empty")
    assert "below 0.6" in policy.decide(seen((50, 60, 70, 80)), WORKSPACE).reason
    blind = seen((50, 60, 70, 80))
    blind.height[:, :100] = np.nan
    assert "11%" in policy.decide(blind, WORKSPACE).reason


def test_values_that_are_not_finite_are_worth_nothing() -> None:
    network = Network()
    network.q[:, :, ::2] = np.nan
    network.q[:, :, 1::4] = np.inf
    action = QPolicy(network).decide(seen((50, 60, 70, 80)), WORKSPACE).action
    assert action is not None
    assert action.cell[0] % 4 == 3
    network.q[:] = np.nan
    assert "finite" in QPolicy(network).decide(seen((50, 60, 70, 80)), WORKSPACE).reason


def test_every_action_stays_in_the_workspace_and_above_the_table() -> None:
    """Also at its borders, where blocks reach beyond them, and in a smaller workspace."""
    small = Workspace.square(75, size=0.3, centre=(0.5, -0.2), table=0.1)
    for seed in range(20):
        network = Network(seed)
        rng = np.random.default_rng(seed)
        for workspace in (WORKSPACE, small):
            heights = np.zeros(workspace.shape, np.float32)
            for _ in range(4):
                row, column = rng.integers(-4, workspace.shape[0], 2)
                heights[max(row, 0) : row + 9, max(column, 0) : column + 9] = 0.06
            view = HeightMap(heights, np.zeros((*workspace.shape, 3), np.uint8))
            action = QPolicy(network).decide(view, workspace).action
            assert action is not None
            assert all(workspace.contains(point - 1e-9) for point in action.waypoints)
            assert (action.waypoints[:, 2] >= workspace.z[0] + 0.004).all()
