"""Message and service types by name."""

from __future__ import annotations

import importlib
from typing import Any


def load_type(name: str) -> Any:  # noqa: ANN401
    """Return the class of "sensor_msgs/msg/Image" or "std_srvs/srv/Trigger".

    Raises:
        ImportError: its package is not installed.
    """
    package, kind, type_ = name.split("/")
    return getattr(importlib.import_module(f"{package}.{kind}"), type_)
