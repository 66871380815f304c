"""Trains the baseline, VPG's network, on the trials that the compact policy learnt from.

    python benchmarks/grasp_vpg.py --trials output/grasp_train/train_state/trials --minutes 60

Pushes are worth what the compact policy's network expects after them, times the discount that it
learnt with. Goes on where it was cut off. Writes `state.pt`, and at the end `vpg.pt`, which
`compress evaluate grasp --vpg` takes. Then compares the values of both networks with what grasps
came to, in every sixth state of the held-out trials. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from compressed_grasp.learning.baseline import VPGTrainer
from compressed_grasp.learning.data import GraspData, accuracy, held_out_trials, scores
from compressed_grasp.learning.proposals import grasp_values
from compressed_grasp.learning.samples import samples
from compressed_grasp.learning.store import TrialStore
from compressed_grasp.learning.trials import to_metres
from compressed_grasp.skill import GraspSkill
from compressed_grasp.vpg import cell_values, height_image, zoomed
from edge_compression.checkpoint import load_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compressed_grasp.learning.trials import Trials
    from compressed_grasp.network import GraspNet
    from compressed_grasp.vpg import VPGNet

TEACHER = Path(__file__).parents[1] / "models/grasp/grasp.pt"
EVERY = 6  # states, as a pass of VPG's network takes half a second
JAW_ANGLES = 8


def vpg_values(network: VPGNet, trials: Trials) -> np.ndarray:
    """Return the values (n,) of the grasps that were tried; a pass for each angle of a state."""
    values = np.empty(len(trials.grasps), np.float32)
    state, angle = trials.grasps[:, 0], trials.grasps[:, 3] % JAW_ANGLES
    for which, k in np.unique(np.column_stack([state, angle]), axis=0):
        image = height_image(zoomed(torch.from_numpy(to_metres(trials.heights[which]))))
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            q = network.values(
                "grasp", None, image.contiguous(memory_format=torch.channels_last), int(k)
            )
        tried = (state == which) & (angle == k)
        row, column = torch.from_numpy(trials.grasps[tried, 1:3]).long().unbind(1)
        values[tried] = cell_values(q.float()[None])[0, row, column].numpy()
    return values


def compare(network: VPGNet, compact: GraspNet) -> None:
    """Print how well values tell grasps that succeed."""
    trials = held_out_trials(GraspData(), "held_out")
    trials = replace(trials, grasps=trials.grasps[trials.grasps[:, 0] % EVERY == 0])

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            return {"q": compact(torch.from_numpy(inputs["height"])).numpy()}

    print(f"{len(trials.grasps)} grasps, {trials.grasps[:, 4].mean():.0%} of which succeed\n")
    print("| network | AUC | best of a state succeeds | Brier |\n|---|---|---|---|")
    found = {
        "VPG": scores(trials.grasps, vpg_values(network, trials)),
        "compact": accuracy(run, trials),
    }
    for name, figures in found.items():
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in figures.values())} |")


def main() -> None:
    """Train, then compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=Path, required=True)
    parser.add_argument("--shards", type=int, default=38)
    parser.add_argument("--seed", type=int, default=1, help="of the trials")
    parser.add_argument("--discount", type=float, default=0.7)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("output/vpg"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    trials = TrialStore(arguments.trials, arguments.seed).read(range(arguments.shards))
    teacher = cast("GraspNet", load_checkpoint(TEACHER, GraspSkill())).eval()
    pushes = arguments.discount * grasp_values(teacher, trials.after)
    arguments.output.mkdir(parents=True, exist_ok=True)
    trainer = VPGTrainer(samples(trials, pushes), arguments.minutes, arguments.output / "state.pt")
    trainer.run()
    torch.save(trainer.network.state_dict(), arguments.output / "vpg.pt")
    print(
        f"{trainer.steps} steps of two passes in {trainer.seconds / 60:.1f} minutes, "
        f"{trainer.core_seconds / 60:.1f} core-minutes; loss {trainer.loss:.4f}"
    )
    compare(trainer.network, teacher)


if __name__ == "__main__":
    main()
