"""Starts the node `arm_pose`, fed by the camera topics that its arguments name.

`ros2 launch compressed_grasp pose.launch.py --show-args` lists the arguments: every parameter of
the node is one, and wins over the parameter file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.launching import describe_launch
from pose_fcn.interface import ARM_POSE

if TYPE_CHECKING:
    from launch import LaunchDescription

CONFIG = Path(__file__).resolve().parents[1] / "config" / "pose.yaml"


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    return describe_launch(ARM_POSE, CONFIG)
