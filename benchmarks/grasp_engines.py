"""What eight bits and half precision change of the decisions: every engine beside the float one.

    python benchmarks/grasp_engines.py [--bundle DIR ...] [--pictures 100]

On pictures of drawn tables that nothing was learnt from: how often an engine chooses the same
action as the first bundle's float engine (kind, angle, and place within a cell and a half), and how
much less that expects of its choice. Time of the network alone, on one thread, the engines in
turns. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compressed_grasp.heightmap import HeightMap
from compressed_grasp.learning.data import pictures
from compressed_grasp.q_policy import CELL, SIDE, QPolicy
from compressed_grasp.workspace import Workspace
from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engine
from edge_runtime.latency import Stopwatch
from edge_runtime.share import shipped_bundle

if TYPE_CHECKING:
    from compressed_grasp.action import Action
    from compressed_grasp.q_policy import Decision, Run

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


@dataclass
class Engine:
    """An engine, what it decided, and how long its network took [ms]."""

    name: str
    file: Path
    macs: float
    run: Run
    decisions: list[Decision] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def decide(self, table: HeightMap, workspace: Workspace) -> None:
        """Decide on what was seen."""
        stopwatch = Stopwatch()
        self.decisions.append(QPolicy(self.run).decide(table, workspace, (), stopwatch))
        self.times.append(stopwatch.stages.get("engine", np.nan))


def engines(folder: Path) -> list[Engine]:
    """Open a bundle's engines for this processor."""
    bundle = load_bundle(folder, "grasp")
    opened = []
    for precision in ("fp32", "fp16", "int8"):
        engine = open_engine(bundle, "cpu", threads=1, precision=precision)
        file = engine.describe()["file"]
        macs = bundle.manifest.models["grasp"].engines[file].macs
        name = f"{bundle.manifest.name} {precision}"
        opened.append(Engine(name, bundle.path / file, macs, engine.run))
    return opened


def row(engine: Engine, floats: list[Decision]) -> str:
    """Compare an engine's decisions with the float engine's."""
    both = list(zip(floats, engine.decisions, strict=True))
    pairs = [(a.action, b.action) for a, b in both]
    kinds = [[action and action.kind for action in pair] for pair in pairs]
    lost = [value(a.q, a.action) - value(a.q, b.action) for a, b in both]
    return (
        f"| {engine.name} | {engine.macs / 1e6:.0f} | {engine.file.stat().st_size / 1024:.0f} "
        f"| {np.nanmedian(engine.times):.2f} "
        f"| {100 * np.mean([kind == 'push' for _, kind in kinds]):.0f} "
        f"| {100 * np.mean([alike(*pair) for pair in pairs]):.0f} "
        f"| {100 * np.mean([a == b for a, b in kinds]):.0f} | {np.mean(lost):.4f} |"
    )


def main() -> None:
    """Let every engine decide on the same pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, nargs="+", default=[shipped_bundle("grasp")])
    parser.add_argument("--pictures", type=int, default=100)
    arguments = parser.parse_args()
    compared = [engine for folder in arguments.bundle for engine in engines(folder)]
    workspace = Workspace.square(SIDE, size=SIDE * CELL)
    color = np.zeros((SIDE, SIDE, 3), np.uint8)
    for each in pictures(arguments.pictures, SEED):
        for engine in compared:
            engine.decide(HeightMap(each[0], color), workspace)
    columns = (
        "engine | MMAC | KiB | p50 [ms] | pushes [%] | same action [%] | same kind [%] | Q lost"
    )
    print(f"| {columns} |")
    print("|---|---|---|---|---|---|---|---|")
    for engine in compared:
        print(row(engine, compared[0].decisions))


if __name__ == "__main__":
    main()
