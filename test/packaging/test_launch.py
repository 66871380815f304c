"""The launch files as `ros2 launch` runs it, where ROS 2's launch is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

pytest.importorskip("launch_ros", reason="ROS 2's launch is not installed (there are no wheels)")

from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

from compressed_grasp.interface import GRASP
from compressed_slam.interface import SLAM
from pose_fcn.interface import ARM_POSE

if TYPE_CHECKING:
    from edge_runtime.interface import NodeInterface

ROOT = Path(__file__).resolve().parents[2]
# Stands in for the node: notes its arguments, and what is in the parameter files among them.
NODE = """#!{python}
import json, sys
words = sys.argv[1:]
files = [words[k + 1] for k, word in enumerate(words) if word == "--params-file"]
with open({record!r}, "w") as record:
    json.dump({{"words": words, "files": [open(file).read() for file in files]}}, record)
"""


def launch(
    skill: str, arguments: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> dict:
    """Run a skill's launch file, and return what the node was started with."""
    record = folder / "record.json"
    program = folder / "lib" / "compressed_grasp" / f"{skill}_node"
    program.parent.mkdir(parents=True)
    program.write_text(NODE.format(python=sys.executable, record=str(record)))
    program.chmod(0o755)
    marker = folder / "share" / "ament_index" / "resource_index" / "packages" / "compressed_grasp"
    marker.parent.mkdir(parents=True)
    marker.touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(folder))
    monkeypatch.setenv("ROS_LOG_DIR", str(folder / "log"))
    source = PythonLaunchDescriptionSource(str(ROOT / "launch" / f"{skill}.launch.py"))
    include = IncludeLaunchDescription(source, launch_arguments=arguments.items())
    service = LaunchService(noninteractive=True)
    service.include_launch_description(LaunchDescription([include]))
    assert service.run() == 0
    started = json.loads(record.read_text())
    # After the file that config names, each later file wins over those before.
    first, *later = (yaml.safe_load(text) for text in started["files"])
    given = [section["ros__parameters"] for file in later for section in file.values()]
    merged = {name: value for parameters in given for name, value in parameters.items()}
    return {"words": started["words"], "config": first, "given": merged}


@pytest.mark.parametrize(("skill", "node"), [("pose", ARM_POSE), ("grasp", GRASP), ("slam", SLAM)])
def test_every_parameter_of_the_node_is_an_argument_of_its_own_type(
    skill: str, node: NodeInterface, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load((ROOT / "config" / f"{skill}.yaml").read_text())
    defaults = config[f"/**/{node.name}"]["ros__parameters"]
    changed = {"image_transport": "compressed", "bundle": "123", "threads": 2}
    # A text that is empty is one that was not given.
    expected = {name: value for name, value in (defaults | changed).items() if value != ""}
    arguments = {name: str(value) for name, value in expected.items()}
    topic = node.inputs[0].topic
    arguments |= {topic: "/camera/color/image_raw"}
    started = launch(skill, arguments, tmp_path, monkeypatch)
    assert started["config"] == config
    assert started["given"] == expected
    assert {k: type(v) for k, v in started["given"].items()} == {
        k: type(v) for k, v in expected.items()
    }
    assert f"{topic}:=/camera/color/image_raw" in started["words"]


def test_what_is_not_given_is_left_to_the_parameter_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert launch("pose", {}, tmp_path, monkeypatch)["given"] == {}
