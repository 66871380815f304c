"""What ROS reads from the environment, looked at before `rclpy.init` fails on it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from edge_runtime.errors import SettingError

# RTPS 2.2, 9.6.1: above it the ports of the domain are no ports any more.
_DOMAINS = range(233)
NO_LOG_FILE = ("--ros-args", "--disable-external-lib-logs")
"""Arguments for `rclpy.init`: lines go to the console and to /rosout only."""


def check_domain_id() -> None:
    """Refuse a ROS_DOMAIN_ID of which rclpy makes an error, or another number.

    Raises:
        SettingError: it is set, and is no whole number from 0 to 232.

    """
    given = os.environ.get("ROS_DOMAIN_ID", "")
    # Read with C's rules, where 010 is 8 and 10x is 10.
    if given and given not in map(str, _DOMAINS):
        msg = (
            f"ROS_DOMAIN_ID is {given!r}: it must be a whole number from 0 to {_DOMAINS[-1]}, or "
            "not set, which is 0"
        )
        raise SettingError(msg)


def log_fault() -> str:
    """Return why rclpy could not write its log file, and would not start; "" if it can."""
    folder = os.environ.get("ROS_LOG_DIR") or f"{os.environ.get('ROS_HOME') or '~/.ros'}/log"
    home = os.environ.get("HOME")
    if folder.startswith("~") and not home:
        return f"HOME is not set, where {folder} would be"
    path = Path(f"{home}{folder[1:]}" if folder.startswith("~") else folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        return f"{path} cannot be written ({error.strerror})"
    return ""
