"""The package as its users get it: a colcon workspace, a wheel, an installed environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {"compress", "replay", "grasp_node", "slam_node", "pose_node", "tabletop_robot"}
PACKAGES = ["edge_runtime", "edge_compression", "edge_replay", "edge_report", "edge_worlds"]
PACKAGES += ["compressed_slam", "pose_fcn"]


def run(*command: object, cwd: Path) -> None:
    result = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def shared() -> list[str]:
    """What must be found below share/compressed_grasp."""
    files = ["package.xml"]
    patterns = [
        "launch/*.launch.py",
        "config/*.rviz",
        "config/*.xml",
        "config/*.yaml",
        "config/recipes/*.yaml",
    ]
    for pattern in (*patterns, "models/**/*"):
        found = sorted(path for path in ROOT.glob(pattern) if path.is_file())
        assert found, f"the repository has no {pattern}"
        files += [path.relative_to(ROOT).as_posix() for path in found]
    return files


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository as somebody would clone it: builds leave nothing in ours."""
    target = tmp_path_factory.mktemp("workspace") / "src" / "compressed_grasp"
    names = [*PACKAGES, "package.xml", "setup.py", "setup.cfg", "pyproject.toml", "LICENSE"]
    names += ["resource", "launch", "config", "models", "test"]
    for name in names:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return target


@pytest.mark.parametrize("options", [[], ["--symlink-install"]], ids=["copied", "linked"])
def test_colcon_build_puts_files_where_ros2_looks(
    source: Path, shared: list[str], tmp_path: Path, options: list[str]
) -> None:
    build = [sys.executable, "-m", "colcon", "--log-base", tmp_path / "log", "build", *options]
    build += ["--build-base", tmp_path / "build", "--install-base", tmp_path / "install"]
    run(*build, "--base-paths", source, cwd=tmp_path)

    prefix = tmp_path / "install" / "compressed_grasp"
    assert (prefix / "share/ament_index/resource_index/packages/compressed_grasp").is_file()
    for file in shared:
        assert (prefix / "share/compressed_grasp" / file).is_file(), file
    executables = prefix / "lib/compressed_grasp"
    assert {path.name for path in executables.iterdir()} == COMMANDS
    assert all(os.access(path, os.X_OK) for path in executables.iterdir())

    # The built one is used, not the one that the environment of this test has installed.
    shell = f". {tmp_path}/install/setup.sh && {executables}/compress --help >/dev/null && "
    shell += f"{sys.executable} -c 'import edge_runtime as it; print(it.__file__)'"
    printed = subprocess.check_output(["/bin/sh", "-c", shell], text=True, cwd="/")
    assert printed.startswith(str(tmp_path))


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # The environment has the setuptools to build with: nothing is downloaded.
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run(*build, "--wheel-dir", folder, source, cwd=folder)
    (file,) = folder.glob("compressed_grasp-*.whl")
    return file


def test_wheel_holds_the_product_and_nothing_else(wheel: Path, shared: list[str]) -> None:
    names = [Path(name) for name in zipfile.ZipFile(wheel).namelist()]
    version = ET.parse(ROOT / "package.xml").findtext("version")  # noqa: S314 - our own file
    dist = f"compressed_grasp-{version}"
    tops = {name.parts[0] for name in names}
    assert tops == {*PACKAGES, f"{dist}.dist-info", f"{dist}.data"}
    files = {name.as_posix() for name in names}
    prefix = f"{dist}.data/data/share"
    assert f"{prefix}/ament_index/resource_index/packages/compressed_grasp" in files
    assert {f"{prefix}/compressed_grasp/{file}" for file in shared} <= files
    carried = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert carried <= files
    assert not [name for name in files if "__pycache__" in name]


def test_pip_puts_commands_into_bin_and_files_into_share(
    wheel: Path, shared: list[str], tmp_path: Path
) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    run(*pip, wheel, cwd=tmp_path)

    assert {path.name for path in (tmp_path / "venv/bin").iterdir()} >= COMMANDS
    for file in shared:
        assert (tmp_path / "venv/share/compressed_grasp" / file).is_file(), file
    ask = "from edge_runtime.share import share_directory; print(share_directory())"
    found = subprocess.check_output([python, "-c", ask], text=True, cwd=tmp_path)
    assert found.strip() == str(tmp_path / "venv/share/compressed_grasp")


def test_every_entry_point_of_ours_exists() -> None:
    ours = [
        entry
        for group in ("console_scripts", "compressed_grasp.skills")
        for entry in entry_points(group=group)
        if entry.dist is not None and entry.dist.name == "compressed_grasp"
    ]
    assert {entry.name for entry in ours} >= {*COMMANDS, "pose"}
    for entry in ours:
        assert callable(entry.load()), entry


def test_robot_install_is_free_of_torch() -> None:
    """What a robot runs must not import what only the workbench has."""
    code = "import sys, edge_runtime.share, pose_fcn.estimator, pose_fcn.node; "
    code += "sys.exit(' '.join({'torch', 'onnx', 'matplotlib', 'mujoco', 'rosbags.rosbag2', "
    code += (
        "'edge_compression', 'edge_replay', 'edge_report', 'edge_worlds'} & {*sys.modules}) or 0)"
    )
    run(sys.executable, "-c", code, cwd=ROOT)
