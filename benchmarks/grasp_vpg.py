"""Trains the baseline, VPG's network, on the trials that the compact policy learnt from.

    python benchmarks/grasp_vpg.py --trials output/grasp_train/train_state/trials --minutes 60

Pushes are worth what the compact policy's network expects after them, times the discount that it
learnt with. Goes on where it was cut off. Writes `state.pt`, and at the end `vpg.pt`, which
`compress evaluate grasp --vpg` takes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from compressed_grasp.learning.baseline import VPGTrainer
from compressed_grasp.learning.proposals import grasp_values
from compressed_grasp.learning.samples import samples
from compressed_grasp.learning.store import TrialStore
from compressed_grasp.skill import GraspSkill
from edge_compression.checkpoint import load_checkpoint

if TYPE_CHECKING:
    from compressed_grasp.network import GraspNet

TEACHER = Path(__file__).parents[1] / "models/grasp/grasp.pt"


def main() -> None:
    """Train."""
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


if __name__ == "__main__":
    main()
