"""The parameter files against the nodes: every parameter, its default, no other."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pose_fcn.node import ArmPoseNode

CONFIG = Path(__file__).resolve().parents[2] / "config"


@pytest.mark.parametrize(("file", "node"), [("pose.yaml", ArmPoseNode)])
def test_config_file_holds_every_parameter_with_its_default(
    file: str, node: type[ArmPoseNode]
) -> None:
    document = yaml.safe_load((CONFIG / file).read_text())
    section = document[f"/**/{node.node_name}"]["ros__parameters"]
    assert section == {setting.name: setting.default for setting in node.all_settings()}
    for setting in node.all_settings():
        assert type(section[setting.name]) is type(setting.default), setting.name
