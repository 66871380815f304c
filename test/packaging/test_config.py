"""The parameter files against the nodes: every parameter, its default, no other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from compressed_grasp.interface import ACTION, GRASP
from compressed_slam.interface import SLAM
from pose_fcn.interface import ARM_POSE

if TYPE_CHECKING:
    from edge_runtime.interface import NodeInterface

CONFIG = Path(__file__).resolve().parents[2] / "config"


@pytest.mark.parametrize(
    ("file", "node"), [("grasp.yaml", GRASP), ("pose.yaml", ARM_POSE), ("slam.yaml", SLAM)]
)
def test_config_file_holds_every_parameter_with_its_default(file: str, node: NodeInterface) -> None:
    document = yaml.safe_load((CONFIG / file).read_text())
    section = document[f"/**/{node.name}"]["ros__parameters"]
    assert section == {setting.name: setting.default for setting in node.parameters}
    for setting in node.parameters:
        assert type(section[setting.name]) is type(setting.default), setting.name


@pytest.mark.parametrize(
    ("file", "node", "frame", "hidden"),
    [("grasp.rviz", GRASP, "table", {ACTION}), ("slam.rviz", SLAM, "map", set())],
)
def test_rviz_shows_topics_of_the_node(
    file: str, node: NodeInterface, frame: str, hidden: set[str]
) -> None:
    document = yaml.safe_load((CONFIG / file).read_text())
    shown = {display["Topic"]["Value"] for display in _displays(document) if "Topic" in display}
    # There is no display for what is hidden: no standard one knows its type.
    topics = {*(output.topic for output in node.outputs), *node.pictures} - hidden
    assert shown == {node.resolve(topic) for topic in topics}
    assert document["Visualization Manager"]["Global Options"]["Fixed Frame"] == frame


def _displays(document: dict[str, Any]) -> list[dict[str, Any]]:
    displays: list[dict[str, Any]] = document["Visualization Manager"]["Displays"]
    return displays
