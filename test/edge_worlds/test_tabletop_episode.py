"""An episode on the simulated table: commands are checked, what was done is kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_runtime.errors import SettingError
from edge_worlds.tabletop.camera import REAL
from edge_worlds.tabletop.episode import LOG, SHEET, VIEWS, Command, Episode
from edge_worlds.tabletop.scene import Scene, SceneObject
from edge_worlds.tabletop.shapes import box

if TYPE_CHECKING:
    from pathlib import Path

UP = np.array([0, 0, 0.15])
SCENE = Scene(
    "two",
    tuple(
        SceneObject(box(0.04, 0.06, 0.05), (0.5, 0.5, 0.5), np.array([x, 0, 0.025]), np.eye(3))
        for x in (-0.1, 0.1)
    ),
)


def grasp(x: float, y: float = 0.0) -> Command:
    at = np.array([x, y, 0.01])
    return Command("grasp", np.stack([at + UP, at, at + UP]), 0.0)


def push(x: float) -> Command:
    begin, end = np.array([x, 0, 0.005]), np.array([x + 0.1, 0, 0.005])
    return Command("push", np.stack([begin + UP, begin, end, end + UP]), 0.0)


def test_actions_are_logged_and_a_killed_episode_goes_on_where_it_was(tmp_path: Path) -> None:
    episode = Episode(SCENE, tmp_path, 1, REAL)
    assert np.abs(episode.picture.camera_pose - episode.camera_pose).max() > 1e-4  # it is not there
    assert episode.execute(grasp(0.1))["grasped"]
    moved = episode.execute(push(-0.15))
    assert (moved["grasped"], moved["moved"], moved["remaining"]) == (False, True, 1)
    assert not episode.execute(grasp(0.15, 0.15))["moved"]
    assert episode.useless == 1
    places = episode.world.positions

    again = Episode(SCENE, tmp_path, 1, REAL)
    np.testing.assert_array_equal(again.world.positions, places)
    assert again.log == episode.log
    assert again.remaining == 1
    again.end("not cleared")
    assert json.loads((tmp_path / LOG).read_text())["result"] == "not cleared"
    assert (tmp_path / SHEET).is_file()
    assert len(list((tmp_path / VIEWS).glob("*/depth.png"))) == 4
    with pytest.raises(SettingError, match="has ended"):
        Episode(SCENE, tmp_path, 1, REAL)
    with pytest.raises(SettingError, match="another episode"):
        Episode(SCENE, tmp_path, 2, REAL)


@pytest.mark.parametrize("name", [LOG, "state.npz"])
@pytest.mark.parametrize("left", [0, 60])
def test_an_episode_that_was_cut_off_on_disk_is_refused_in_one_line(
    tmp_path: Path, name: str, left: int
) -> None:
    Episode(SCENE, tmp_path, 1)
    file = tmp_path / name
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(SettingError, match="is damaged"):
        Episode(SCENE, tmp_path, 1)


@pytest.mark.parametrize(
    ("command", "match"),
    [
        (grasp(0.3), "leaves the workspace"),
        (Command("grasp", grasp(0.1).waypoints - (0, 0, 0.02), 0.0), "below the table"),
        (Command("grasp", grasp(np.nan).waypoints, 0.0), "finite"),
        (Command("grasp", push(0.1).waypoints, 0.0), "4 way points"),
        (Command("throw", push(0.1).waypoints, 0.0), "'throw'"),
    ],
)
def test_commands_that_a_robot_must_not_follow_are_refused(command: Command, match: str) -> None:
    with pytest.raises(SettingError, match=match):
        command.check()
