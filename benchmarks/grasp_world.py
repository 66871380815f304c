"""How many primitives the table's physics makes in a second, each on a state that was put back.

    python benchmarks/grasp_world.py [--scenes DIR --meshes DIR] [--rounds 20]

Grasps at objects and pushes past them, at random angles, on packed groups, on piles, and on VPG's
test cases where their folders are given. One process. Prints a Markdown table; time is the
processor's, which other programs disturb less than the clock.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_worlds.tabletop.scene import packed_group, random_pile, read_scene
from edge_worlds.tabletop.world import TabletopWorld

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edge_worlds.tabletop.scene import Scene


def scenes(arguments: argparse.Namespace) -> Iterator[tuple[str, Scene]]:
    """Yield what to time, by name."""
    rng = np.random.default_rng(0)
    yield "packed group of 5", packed_group(rng, 5)
    yield "pile of 10", random_pile(rng, 10)
    yield "pile of 30", random_pile(rng, 30)
    if arguments.scenes and arguments.meshes:
        for file in sorted(arguments.scenes.glob("*.txt")):
            yield file.stem, read_scene(file, arguments.meshes)


def targets(world: TabletopWorld, rng: np.random.Generator, rounds: int) -> NDArray[np.float64]:
    """Draw objects' places and an angle, (rounds, 4)."""
    places = world.positions[world.present]
    chosen = places[rng.integers(len(places), size=rounds)]
    chosen[:, 2] = np.maximum(chosen[:, 2] - 0.02, 0.005)
    return np.column_stack([chosen, rng.uniform(0, 2 * np.pi, rounds)])


def main() -> None:
    """Time both primitives in every scene."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=Path)
    parser.add_argument("--meshes", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    print("| scene | objects | made in [s] | grasp [ms] | push [ms] | primitives/s |")
    print("|---|---|---|---|---|---|")
    for name, scene in scenes(arguments):
        start = time.process_time()
        world = TabletopWorld(scene)
        made = time.process_time() - start
        state = world.save()
        spent = np.zeros(2)
        for x, y, z, angle in targets(world, rng, arguments.rounds):
            along = 0.06 * np.array([np.cos(angle), np.sin(angle), 0])
            world.restore(state)
            start = time.process_time()
            world.grasp(np.array([x, y, z]), angle)
            spent[0] += time.process_time() - start
            world.restore(state)
            start = time.process_time()
            world.push(np.array([x, y, 0.005]) - along, angle)
            spent[1] += time.process_time() - start
        grasp, push = 1e3 * spent / arguments.rounds
        print(
            f"| {name} | {len(scene.objects)} | {made:.2f} | {grasp:.0f} | {push:.0f} "
            f"| {2e3 / (grasp + push):.1f} |"
        )


if __name__ == "__main__":
    main()
