"""What to install when a Python module is missing: the one place that knows the extras."""

from __future__ import annotations

_BRINGS = {
    "backports": (".[replay]",),
    "distributed": (".[dask]",),
    "joblib": (".[train]",),
    "lz4": (".[replay]",),
    "matplotlib": (".[compress]", ".[replay]"),
    "mujoco": (".[train]",),
    "onnx": (".[compress]",),
    "rosbags": (".[replay]",),
    "torch": (".[compress]",),
    "torch_pruning": (".[compress]",),
    "tqdm": (".",),
}
_OF_ROS = ("rclpy", "rosidl", "builtin_interfaces", "rcl_interfaces")


def missing_module(error: ModuleNotFoundError) -> str:
    """Return the line that names the module and what brings it."""
    top = (error.name or "").partition(".")[0]
    if top.startswith(_OF_ROS) or top.endswith("_msgs"):
        remedy = f"source a ROS 2 installation, or {_install('.[ros]')}"
    elif top in _BRINGS:
        remedy = " or ".join(map(_install, _BRINGS[top]))
    else:
        remedy = "install the Python package that has it"
    return f"the Python module {top!r} is not installed: {remedy}"


def _install(target: str) -> str:
    return f"pip install '{target}' in the source tree"
