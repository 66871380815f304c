"""Tells how hard VPG's scenes are, for other jaws, and for policies that learnt from less.

    python benchmarks/grasp_difficulty.py --scenes test-cases room
    python benchmarks/grasp_difficulty.py --scenes test-cases clear --weights models/grasp/grasp.pt
    python benchmarks/grasp_difficulty.py --scenes test-cases clear --trials TRIALS --each 3
    python benchmarks/grasp_difficulty.py --scenes test-cases push --runs 10

`room`: of all grasps at objects (cell and angle), before anything was touched, the share in which
both fingers find room 25 mm below the top. `clear`: how many scenes grasps alone clear, by our
rules and by VPG's, which is the best Q whatever has failed before; of shipped weights, or of a
network that first learns from `--each` grasps a picture, anywhere on objects (0: all that were
tried). `push`: the same network in rows of boxes that leave fingers no room, with pushes and
without.
"""

from __future__ import annotations

import argparse
import math
import zlib
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from compressed_grasp import policies
from compressed_grasp.action import ANGLES, Action, plan
from compressed_grasp.evaluation import FAULTS
from compressed_grasp.learning.loss import executed_loss
from compressed_grasp.learning.samples import draw_batch, samples
from compressed_grasp.learning.store import TrialStore
from compressed_grasp.network import GraspNet
from compressed_grasp.q_policy import PUSH_BELOW, QPolicy
from compressed_grasp.routine import run_episode, summarise
from compressed_grasp.simulation import SimulatedTable
from compressed_grasp.skill import GraspSkill
from compressed_grasp.workspace import Workspace
from edge_compression.checkpoint import load_checkpoint
from edge_worlds.tabletop.camera import crop_to_workspace, oblique_camera
from edge_worlds.tabletop.packing import tight_row
from edge_worlds.tabletop.scene import Scene, random_pile, read_scene
from edge_worlds.tabletop.shapes import read_mesh
from edge_worlds.tabletop.world import TabletopWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from compressed_grasp.heightmap import HeightMap
    from compressed_grasp.policies import Policy
    from compressed_grasp.q_policy import Run

    SceneMaker = Callable[[np.random.Generator], Scene]

SPACE = Workspace.square(112)
CAMERA = crop_to_workspace(oblique_camera(320, 240))
JAWS = ((0.110, 0.010, 0.020), (0.085, 0.010, 0.020), (0.085, 0.020, 0.030))
LEARNING_RATE = 0.008
WARM_UP = 0.1


def room(folder: Path) -> None:
    """Print the share of grasps that find room, by scene and jaws."""
    scenes = cases(folder)
    shapes = [read_mesh(file) for file in sorted((folder.parent / "blocks").glob("*.obj"))]
    for seed in range(2):
        rng = np.random.default_rng((9, seed))
        scenes[f"pile of 10 ({seed + 1})"] = random_pile(rng, 10, shapes)
    for count in (2, 3, 4, 5):
        scenes[f"row of {count}"] = tight_row(np.random.default_rng((9, count)), count)
    names = [f"{1e3 * o:.0f} mm, fingers {1e3 * t:.0f} x {1e3 * w:.0f}" for o, t, w in JAWS]
    print(f"| scene | {' | '.join(names)} |\n|---{'|---' * len(names)}|")
    for name, scene in scenes.items():
        seen = SimulatedTable(TabletopWorld(scene), CAMERA, SPACE, colored=False).truth()
        objects = np.nan_to_num(seen.height) > policies.OBJECT_HEIGHT
        shares = []
        for opening, thickness, width in JAWS:
            policies._OPENING, policies._FINGER = opening, (thickness, width)  # noqa: SLF001
            found = policies.grasp_room(seen, SPACE) & objects
            shares.append(f"{100 * found.sum() / (len(found) * objects.sum()):.1f}")
        print(f"| {name} | {' | '.join(shares)} |", flush=True)


def cases(folder: Path) -> dict[str, Scene]:
    """Read VPG's test cases."""
    files = sorted(folder.glob("*.txt"))
    return {file.stem: read_scene(file, folder.parent / "blocks") for file in files}


def learnt(folder: Path, shards: int, each: int, steps: int) -> GraspNet:
    """Learn grasps, and nothing else, from some of the trials."""
    trials = TrialStore(folder, seed=1).read(range(shards))
    if each:
        # The second half of what was tried in a state was drawn anywhere on objects.
        tried = [np.flatnonzero(trials.grasps[:, 0] == k) for k in range(len(trials.heights))]
        few = np.concatenate([rows[len(rows) // 2 :][:each] for rows in tried])
        trials = replace(trials, grasps=trials.grasps[few])
    print(f"{len(trials.grasps)} grasps in {len(trials.heights)} pictures, {steps} steps")
    torch.manual_seed(0)
    network = GraspNet()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    data = samples(trials)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * one_cycle((step + 1) / steps)
        batch = draw_batch(data, 16, np.random.default_rng((1, step)))
        parts = (torch.from_numpy(each) for each in (batch.height, batch.index, batch.value))
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = executed_loss(network, *parts)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return network


def one_cycle(share: float) -> float:
    """Share of the highest learning rate after this share of the steps, as in the training."""
    return min(share / WARM_UP, 0.5 + 0.5 * math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)))


class BestGrasp:
    """The grasp of the highest Q, whatever has failed before, as VPG's grasp-only policy."""

    def __init__(self, policy: QPolicy) -> None:
        """Take the Q map of this policy."""
        self._policy = policy

    def __call__(
        self,
        seen: HeightMap,
        workspace: Workspace,
        rng: np.random.Generator,
        useless: Sequence[Action],
    ) -> Action | None:
        """Choose."""
        del rng, useless
        q = self._policy.q_map(seen)[ANGLES:]
        angle, row, column = (int(k) for k in np.unravel_index(q.argmax(), q.shape))
        return plan("grasp", (row, column), angle, seen, workspace)


def runner(network: GraspNet) -> Run:
    """Return how `QPolicy` asks a network."""
    network.eval()

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            return {"q": network(torch.from_numpy(inputs["height"])).numpy()}

    return run


def play(name: str, policy: Policy, makers: Mapping[str, SceneMaker], runs: int) -> None:
    """Print what so many runs in each of the scenes come to."""
    episodes = []
    for scene, make in makers.items():
        for k in range(runs):
            rng = np.random.default_rng((5, zlib.crc32(scene.encode()), k))
            world = TabletopWorld(make(rng))
            table = SimulatedTable(world, CAMERA, SPACE, FAULTS["real"], rng, colored=False)
            episodes.append(run_episode(table, policy, SPACE, rng))
    figures = {key: round(100 * value, 1) for key, value in asdict(summarise(episodes)).items()}
    pushes = np.mean([each.pushes for each in episodes])
    print(f"{name}: {len(episodes)} runs, {figures}, {pushes:.2f} pushes a run", flush=True)


def clear(folder: Path, run: Run, runs: int) -> None:
    """Print how many of VPG's scenes grasps alone clear, by both rules."""
    makers = {name: partial(_same, scene) for name, scene in cases(folder).items()}
    ours = QPolicy(run, push_below=0.0)
    play("never again what failed", ours, makers, runs)
    play("best Q", BestGrasp(ours), makers, runs)


def push(run: Run, runs: int) -> None:
    """Print what pushes gain in rows, by the value of a grasp below which one may be chosen."""
    makers = {f"row-{count}": partial(tight_row, count=count) for count in (2, 4)}
    for below in (0.0, PUSH_BELOW, 0.7):
        play(f"push_below {below}", QPolicy(run, push_below=below), makers, runs)


def _same(scene: Scene, rng: np.random.Generator) -> Scene:
    del rng
    return scene


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("room", "clear", "push"))
    parser.add_argument("--scenes", type=Path, required=True, help="VPG's test cases")
    parser.add_argument("--weights", type=Path, default=Path("models/grasp/grasp.pt"))
    parser.add_argument("--trials", type=Path, help="learn from these instead")
    parser.add_argument("--shards", type=int, default=22)
    parser.add_argument("--each", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.what == "room":
        room(arguments.scenes)
        return
    if arguments.trials is None:
        network = cast("GraspNet", load_checkpoint(arguments.weights, GraspSkill()))
    else:
        network = learnt(arguments.trials, arguments.shards, arguments.each, arguments.steps)
    if arguments.what == "clear":
        clear(arguments.scenes, runner(network), arguments.runs)
    else:
        push(runner(network), arguments.runs)


if __name__ == "__main__":
    main()
