"""Starts the node `arm_pose`, fed by the camera topics that its arguments name.

`ros2 launch compressed_grasp pose.launch.py --show-args` lists the arguments: every parameter of
the node is one, and wins over the parameter file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

CONFIG = Path(__file__).resolve().parents[1] / "config" / "pose.yaml"
# The node itself is not asked: a launch may run in a Python that lacks the node's libraries.
DEFAULTS: dict[str, Any] = yaml.safe_load(CONFIG.read_text())["/**/arm_pose"]["ros__parameters"]
TOPICS = ("image", "camera_info", "depth")


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "image", default_value="image", description="topic of the colour image"
            ),
            DeclareLaunchArgument(
                "camera_info", default_value="camera_info", description="its camera info topic"
            ),
            DeclareLaunchArgument(
                "depth",
                default_value="depth",
                description="topic of the depth image registered to it; may stay silent",
            ),
            DeclareLaunchArgument(
                "config", default_value=str(CONFIG), description="parameter file, YAML"
            ),
            DeclareLaunchArgument(
                "namespace", default_value="", description="namespace of the node"
            ),
            DeclareLaunchArgument(
                "log_level",
                default_value="info",
                choices=["debug", "info", "warn", "error", "fatal"],
                description="least severity that is logged",
            ),
            *(
                DeclareLaunchArgument(
                    name,
                    default_value="",
                    description=f"parameter of the node (`pose_node --help` tells of it); empty: "
                    f"what config says, which is {default!r} in the file that ships",
                )
                for name, default in DEFAULTS.items()
            ),
            OpaqueFunction(function=_node),
        ]
    )


def _node(context: LaunchContext) -> list[Node]:
    return [
        Node(
            package="compressed_grasp",
            executable="pose_node",
            name="arm_pose",
            namespace=LaunchConfiguration("namespace"),
            parameters=[LaunchConfiguration("config"), _given(context)],
            remappings=[(topic, LaunchConfiguration(topic)) for topic in TOPICS],
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
            output="screen",
        )
    ]


def _given(context: LaunchContext) -> dict[str, Any]:
    """Return the parameters that were given; a text stays one, even if it looks like a number."""
    values = {name: LaunchConfiguration(name) for name in DEFAULTS}
    return {
        name: ParameterValue(value, value_type=str) if isinstance(DEFAULTS[name], str) else value
        for name, value in values.items()
        if value.perform(context)
    }
