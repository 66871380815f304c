"""Installs the suite: with pip into a Python environment, with `colcon build` into a workspace.

The metadata stays in this file because the setuptools of ROS 2 Humble (59) reads no `[project]`
table. What package.xml says is read from there.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree as ET

from setuptools import find_packages, setup

PACKAGE = "compressed_grasp"
# colcon runs this file in the source tree and, with --symlink-install, in a tree of links to it.
ROOT = Path(__file__).absolute().parent
SHARED = ("launch/*.launch.py", "config/**/*.yaml", "config/*.xml", "config/*.rviz", "models/**/*")
ROS = ("rclpy[fastrtps]", "diagnostic-msgs", "geometry-msgs", "lifecycle-msgs", "rcl-interfaces")
ROS += ("nav-msgs", "sensor-msgs", "std-msgs", "std-srvs", "trajectory-msgs", "visualization-msgs")


def data_files() -> list[tuple[str, list[str]]]:
    """Return (directory below the prefix, files) for everything that ROS 2 looks up by path."""
    share = f"share/{PACKAGE}"
    found = defaultdict(list, {share: ["package.xml"]})
    for pattern in SHARED:
        for file in sorted(ROOT.glob(pattern)):
            if file.is_file():
                relative = file.relative_to(ROOT)
                found[f"{share}/{relative.parent.as_posix()}"].append(relative.as_posix())
    marker = ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"])
    return [marker, *found.items()]


def package_data(packages: list[str]) -> dict[str, list[str]]:
    """Return the files, other than Python's, that each top-level package carries."""
    return {
        name: [
            file.relative_to(ROOT / name).as_posix()
            for file in sorted((ROOT / name).rglob("*"))
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".py"
        ]
        for name in packages
        if "." not in name
    }


manifest = ET.parse(ROOT / "package.xml").getroot()  # noqa: S314 - our own file
maintainer = manifest.find("maintainer")
packages = find_packages(str(ROOT), include=["compressed_*", "edge_*", "pose_fcn*"])

setup(
    name=PACKAGE,
    version=manifest.findtext("version"),
    description=manifest.findtext("description"),
    maintainer=maintainer.text,
    maintainer_email=maintainer.get("email"),
    license=manifest.findtext("license"),
    python_requires=">=3.10,<3.14",
    packages=packages,
    package_data=package_data(packages),
    data_files=data_files(),
    zip_safe=False,
    install_requires=[
        "numpy>=1.21",
        "onnxruntime>=1.16",
        "opencv-python-headless>=4.5",
        "psutil>=5.9",
        "pydantic>=2.0",
        "PyYAML>=5.4",
        "tqdm>=4.60",
    ],
    extras_require={
        # PyPI has these wheels for x86-64 only; elsewhere ROS 2 itself is installed.
        "ros": [f"ros-{name}; platform_machine == 'x86_64'" for name in ROS],
        "slam": ["numba>=0.59", "torch>=2.6"],
        "compress": [
            "Jinja2>=3.0",
            "matplotlib>=3.7",
            "joblib>=1.4",
            "mujoco>=3.17",
            "numba>=0.59",
            "onnx>=1.16",
            "torch>=2.6",
            "torch-pruning>=1.5",
        ],
        "replay": [
            "backports.zstd>=1.0; python_version < '3.14'",
            "Jinja2>=3.0",
            "lz4>=4",
            "matplotlib>=3.7",
            "rosbags>=0.10",
        ],
        "rerun": ["rerun-sdk>=0.23"],
        "dask": ["distributed>=2024.1"],
        "train": [f"{PACKAGE}[compress]"],
        "dev": [
            "colcon-common-extensions",
            "distributed>=2024.1",
            "mypy>=1.13",
            "pytest>=7",
            "pytest-timeout>=2",
            "pytest-xdist>=3",
            "ruff>=0.9",
            # colcon drives `setup.py develop --editable`, which setuptools 80 dropped.
            "setuptools<80",
            "types-PyYAML",
            "types-psutil",
            "types-tqdm",
        ],
    },
    entry_points={
        "console_scripts": [
            "compress = edge_compression.__main__:main",
            "replay = edge_replay.__main__:main",
            "tabletop_robot = edge_worlds.tabletop.robot:main",
            "grasp_node = compressed_grasp.grasp_node:main",
            "pose_node = pose_fcn.pose_node:main",
            "slam_node = compressed_slam.slam_node:main",
        ],
        "compressed_grasp.skills": [
            "grasp = compressed_grasp.skill:GraspSkill",
            "pose = pose_fcn.skill:PoseSkill",
            "slam = compressed_slam.skill:SlamSkill",
        ],
    },
)
