"""Starts the node `slam`, fed by the camera topics that its arguments name.

`ros2 launch compressed_grasp slam.launch.py --show-args` lists the arguments: every parameter of
the node is one, and wins over the parameter file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compressed_slam.interface import SLAM
from edge_runtime.launching import describe_launch

if TYPE_CHECKING:
    from launch import LaunchDescription

CONFIG = Path(__file__).resolve().parents[1] / "config" / "slam.yaml"


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    return describe_launch(SLAM, CONFIG)
