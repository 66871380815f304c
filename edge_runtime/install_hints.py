"""What to install when a Python module is missing: the one place that knows the extras."""

from __future__ import annotations

import platform

_BRINGS = {
    "backports": (".[replay]",),
    "cv2": (".",),
    "distributed": (".[dask]",),
    "jinja2": (".[compress]", ".[replay]"),
    "joblib": (".[train]",),
    "lz4": (".[replay]",),
    "matplotlib": (".[compress]", ".[replay]"),
    "mujoco": (".[train]",),
    "numpy": (".",),
    "onnx": (".[compress]",),
    "onnxruntime": (".",),
    "psutil": (".",),
    "pydantic": (".",),
    "rerun": (".[rerun]",),
    "rosbags": (".[replay]",),
    "torch": (".[compress]",),
    "torch_pruning": (".[compress]",),
    "tqdm": (".",),
    "yaml": (".",),
}
_OF_ROS = ("rclpy", "rosidl", "builtin_interfaces", "rcl_interfaces")


def failed_import(error: ImportError) -> str:
    """Return the line for a module that is missing, or there but not made for this Python."""
    top = (error.name or "").partition(".")[0]
    text = str(error).partition("\n")[0]
    # The compiled half of a ROS package is missing where the package is another Python's.
    of_another_python = _is_of_ros(top) and "C extension" in str(error)
    if isinstance(error, ModuleNotFoundError) and not of_another_python:
        return missing_module(error)
    python = f"this Python ({platform.python_version()})"
    if _is_of_ros(top):
        remedy = f"source that ROS 2 installation, and start with the Python that {top} is made for"
        return f"{python} cannot load {top!r} of ROS 2: {text}: {remedy}"
    return f"{python} cannot load {top or 'a module'!r}: {text}: {_install('.')}"


def missing_module(error: ModuleNotFoundError) -> str:
    """Return the line that names the module and what brings it."""
    top = (error.name or "").partition(".")[0]
    if _is_of_ros(top):
        remedy = f"source a ROS 2 installation, or {_install('.[ros]')}"
    elif top in _BRINGS:
        remedy = " or ".join(map(_install, _BRINGS[top]))
    else:
        remedy = "install the Python package that has it"
    return f"the Python module {top!r} is not installed: {remedy}"


def _is_of_ros(top: str) -> bool:
    return top.startswith(_OF_ROS) or top.endswith("_msgs")


def _install(target: str) -> str:
    return f"pip install '{target}' in the source tree"
