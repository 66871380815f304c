"""Starts the node `arm_pose`, fed by the camera topics that its arguments name.

`ros2 launch compressed_grasp pose.launch.py --show-args` lists the arguments.
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

CONFIG = Path(__file__).resolve().parents[1] / "config" / "pose.yaml"
TOPICS = ("image", "camera_info", "depth")


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "bundle",
                default_value="",
                description="engine bundle, a folder; empty: the one that config names",
            ),
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
            OpaqueFunction(function=_node),
        ]
    )


def _node(context: LaunchContext) -> list[Node]:
    bundle = LaunchConfiguration("bundle").perform(context)
    return [
        Node(
            package="compressed_grasp",
            executable="pose_node",
            name="arm_pose",
            namespace=LaunchConfiguration("namespace"),
            # A parameter given here wins over the file, so an empty one must not be given.
            parameters=[LaunchConfiguration("config"), *([{"bundle": bundle}] if bundle else [])],
            remappings=[(topic, LaunchConfiguration(topic)) for topic in TOPICS],
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
            output="screen",
        )
    ]
