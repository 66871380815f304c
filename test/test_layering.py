"""The arrows of the house go downward only, and the robot's side needs no workbench."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
# edge_runtime is the lowest: errors, whole files and the commands' convention live there.
ALLOWED = {
    "edge_runtime": set(),
    "edge_worlds": {"edge_runtime"},
    "edge_report": {"edge_runtime"},
    "edge_compression": {"edge_runtime", "edge_report"},
    "edge_replay": {"edge_runtime", "edge_report"},
    "compressed_grasp": {"edge_runtime", "edge_compression", "edge_replay", "edge_worlds"},
    "compressed_slam": {"edge_runtime", "edge_compression", "edge_replay", "edge_worlds"},
    "pose_fcn": {"edge_runtime", "edge_compression", "edge_replay", "edge_worlds"},
}
OURS = set(ALLOWED)
ON_THE_ROBOT = {
    "compressed_grasp": {
        "action",
        "arm_mask",
        "attempts",
        "grasp_node",
        "heightmap",
        "interface",
        "messages",
        "node",
        "overlay",
        "planner",
        "policies",
        "q_policy",
        "rectification",
        "routine",
        "workspace",
    },
    "pose_fcn": {
        "estimator",
        "expansion_clustering",
        "interface",
        "lifting",
        "messages",
        "node",
        "overlay",
        "pose_node",
    },
}
WORKBENCH = {"torch", "mujoco", "onnx", "matplotlib", "jinja2", "rosbags"} | OURS - {"edge_runtime"}


def imported(path: Path) -> set[str]:
    """Top-level names that a file imports anywhere, in functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_packages_import_downward_only(package: str) -> None:
    files = sorted((REPOSITORY / package).rglob("*.py"))
    assert files
    for path in files:
        assert imported(path) & OURS <= ALLOWED[package] | {package}, path


def test_tracking_and_mapping_need_no_workbench() -> None:
    files = [*(REPOSITORY / "compressed_slam").glob("*.py")]
    for path in files:
        if path.name != "skill.py":
            assert imported(path) & OURS <= {"compressed_slam", "edge_runtime"}, path
            assert "compressed_slam.training" not in path.read_text(), path


def test_what_runs_on_the_robot_needs_no_workbench() -> None:
    for path in (REPOSITORY / "edge_runtime").glob("*.py"):
        assert not imported(path) & WORKBENCH, path
    for skill, names in ON_THE_ROBOT.items():
        for name in names:
            path = REPOSITORY / skill / f"{name}.py"
            assert not imported(path) & (WORKBENCH - {skill}), path
