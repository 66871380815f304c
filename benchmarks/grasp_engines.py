"""What eight bits and half precision change of the decisions: every engine beside the float one.

    python benchmarks/grasp_engines.py [--bundle DIR] [--pictures 100]

On pictures of drawn tables that nothing was learnt from: how often an engine chooses the same
action (kind, angle, and place within a cell and a half), how much less the float engine expects of
its choice, and its size. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compressed_grasp.heightmap import HeightMap
from compressed_grasp.learning.data import pictures
from compressed_grasp.q_policy import CELL, SIDE, QPolicy
from compressed_grasp.workspace import Workspace
from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engine
from edge_runtime.share import shipped_bundle

if TYPE_CHECKING:
    from compressed_grasp.action import Action
    from compressed_grasp.q_policy import Decision

SEED = 77
NEAR = 1.5  # cells


def alike(first: Action | None, second: Action | None) -> bool:
    """Whether two decisions come to the same."""
    if first is None or second is None:
        return first is second
    turns = 16 if first.kind == "push" else 8
    return (
        first.kind == second.kind
        and first.angle_index % turns == second.angle_index % turns
        and float(np.hypot(*np.subtract(first.cell, second.cell))) <= NEAR
    )


def value(q: np.ndarray, action: Action | None) -> float:
    """Q of an action."""
    if action is None:
        return 0.0
    channel = action.angle_index + (0 if action.kind == "push" else 16)
    return float(q[(channel, *action.cell)])


def main() -> None:
    """Let every engine decide on the same pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--pictures", type=int, default=100)
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle or shipped_bundle("grasp"), "grasp")
    workspace = Workspace.square(SIDE, size=SIDE * CELL)
    color = np.zeros((SIDE, SIDE, 3), np.uint8)
    tables = [HeightMap(each[0], color) for each in pictures(arguments.pictures, SEED)]
    decisions: dict[str, list[Decision]] = {}
    files = {}
    for precision in ("fp32", "fp16", "int8"):
        engine = open_engine(bundle, "cpu", threads=1, precision=precision)
        policy = QPolicy(engine.run)
        decisions[precision] = [policy.decide(table, workspace) for table in tables]
        files[precision] = bundle.path / engine.describe()["file"]
    floats = decisions["fp32"]
    print("| engine | KiB | pushes [%] | same action [%] | same kind [%] | Q lost, mean |")
    print("|---|---|---|---|---|---|")
    for precision, made in decisions.items():
        pairs = [(a.action, b.action) for a, b in zip(floats, made, strict=True)]
        kinds = [[action and action.kind for action in pair] for pair in pairs]
        lost = [
            value(a.q, a.action) - value(a.q, b.action) for a, b in zip(floats, made, strict=True)
        ]
        print(
            f"| {precision} | {files[precision].stat().st_size / 1024:.0f} "
            f"| {100 * np.mean([kind == 'push' for _, kind in kinds]):.0f} "
            f"| {100 * np.mean([alike(*pair) for pair in pairs]):.0f} "
            f"| {100 * np.mean([a == b for a, b in kinds]):.0f} | {np.mean(lost):.4f} |"
        )


if __name__ == "__main__":
    main()
