"""Starts the node `arm_pose`, fed by the camera topics that its arguments name.

`ros2 launch compressed_grasp pose.launch.py --show-args` lists the arguments: every parameter of
the node is one, and wins over the parameter file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from pose_fcn.interface import ARM_POSE

CONFIG = Path(__file__).resolve().parents[1] / "config" / "pose.yaml"
DEFAULTS = {setting.name: setting.default for setting in ARM_POSE.parameters}


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(
                    given.topic, default_value=given.topic, description=given.description
                )
                for given in ARM_POSE.inputs
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
            executable=ARM_POSE.executable,
            name=ARM_POSE.name,
            namespace=LaunchConfiguration("namespace"),
            parameters=[LaunchConfiguration("config"), _given(context)],
            remappings=[
                (given.topic, LaunchConfiguration(given.topic)) for given in ARM_POSE.inputs
            ],
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
