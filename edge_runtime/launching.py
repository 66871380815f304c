"""The launch description of a node, made of its interface.

Imports ROS 2's launch: for launch files only. None of the node's libraries is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

if TYPE_CHECKING:
    from pathlib import Path

    from launch import LaunchContext

    from edge_runtime.interface import NodeInterface

_PACKAGE = "compressed_grasp"


def describe_launch(interface: NodeInterface, config: Path) -> LaunchDescription:
    """Return a launch of one node.

    Its arguments are the topics of the inputs, the parameter file (default: `config`), namespace,
    log level, and every parameter, which then wins over the file.
    """
    defaults = {setting.name: setting.default for setting in interface.parameters}
    arguments = [
        *(
            DeclareLaunchArgument(
                given.topic, default_value=given.topic, description=given.description
            )
            for given in interface.inputs
        ),
        DeclareLaunchArgument(
            "config", default_value=str(config), description="parameter file, YAML"
        ),
        DeclareLaunchArgument("namespace", default_value="", description="namespace of the node"),
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
                description=f"parameter of the node (`{interface.executable} --help` tells of it); "
                f"empty: what config says, which is {default!r} in the file that ships",
            )
            for name, default in defaults.items()
        ),
    ]

    def nodes(context: LaunchContext) -> list[Node]:
        return [_node(interface, _given(context, defaults))]

    return LaunchDescription([*arguments, OpaqueFunction(function=nodes)])


def _node(interface: NodeInterface, given: dict[str, Any]) -> Node:
    return Node(
        package=_PACKAGE,
        executable=interface.executable,
        name=interface.name,
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("config"), given],
        remappings=[(each.topic, LaunchConfiguration(each.topic)) for each in interface.inputs],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )


def _given(context: LaunchContext, defaults: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that were given; a text stays one, even if it looks like a number."""
    values = {name: LaunchConfiguration(name) for name in defaults}
    return {
        name: ParameterValue(value, value_type=str) if isinstance(defaults[name], str) else value
        for name, value in values.items()
        if value.perform(context)
    }
