"""Which profile Fast DDS, the default middleware, takes: ours, unless the user has chosen.

What the profile is good for stands in config/fastdds.xml.
"""

from __future__ import annotations

import os

from edge_runtime.host import tool_versions
from edge_runtime.share import share_directory

_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
# Read up to Jazzy; from Kilted on (rclpy 9) it is deprecated, and Fast DDS complains of it.
_OLD_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
_RCLPY_OF_KILTED = 9
# Set to anything, also to nothing, these are the user's own choice of a transport.
_CHOICES = (_VARIABLE, _OLD_VARIABLE, "FASTDDS_BUILTIN_TRANSPORTS")


def profile_environment() -> dict[str, str]:
    """Return the variables that let participants made under them hand over pictures without loss.

    None where the user has chosen a transport; other middlewares ignore them.

    Raises:
        SettingError: the package's files are not installed.
    """
    if any(name in os.environ for name in _CHOICES) or _is_confined_by_transport():
        return {}
    old = int(tool_versions("rclpy").get("rclpy", "0").partition(".")[0]) < _RCLPY_OF_KILTED
    names = (_VARIABLE, _OLD_VARIABLE) if old else (_VARIABLE,)
    return dict.fromkeys(names, str(share_directory() / "config" / "fastdds.xml"))


def _is_confined_by_transport() -> bool:
    # Humble stays on this machine by a transport of its own, beside which ours would reach out.
    return os.environ.get("ROS_DISTRO") == "humble" and os.environ.get("ROS_LOCALHOST_ONLY") == "1"
