"""Compares the compact policy's network with what it could have been, on the same trials.

    python benchmarks/grasp_networks.py [--trials DIR] [--shards 12] [--steps 600] [--seeds 1 2]

- `channels`: what ships: one pass over the heights, whose channels are angles.
- `rotations`: the same layers see the picture turned, once for each of 16 angles, as VPG's do, and
  give one push and one grasp; so narrow that all passes together cost no more.
- `colour`: what ships, with three more channels in.

All learn alike to grasp, so many steps from the same batches; of held-out trials it is told how
well values tell grasps that succeed. Times are of a decision's network in ONNX Runtime, float32,
one thread, in turns. Trials with their colours are made where there are none; for those that
`compress train` recorded without (`--trials output/grasp_train/train_state/trials --shards 38`),
`colour` is left out. Goes on where it was cut off. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional

from compressed_grasp.action import ANGLES
from compressed_grasp.learning.data import scores
from compressed_grasp.learning.loss import executed_loss
from compressed_grasp.learning.samples import draw_batch, samples
from compressed_grasp.learning.store import TrialStore, make_missing
from compressed_grasp.learning.trials import to_metres
from compressed_grasp.network import GraspNet
from edge_compression.measure import latencies, macs, parameters
from edge_runtime.files import write_whole
from edge_runtime.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from compressed_grasp.learning.samples import Samples
    from compressed_grasp.learning.trials import Trials

SIDE, PADDED = 112, 160  # cells; a turned map fits into the second, as in VPG
JAW_ANGLES = ANGLES // 2
NARROW = (5, 8, 12, 18)  # widths with which 16 passes over 160 x 160 cells cost no more
TRAINED, HELD_OUT = 1, 2  # seeds of trials
BATCH, LEARNING_RATE, WEIGHT_DECAY, WARM_UP = 16, 0.008, 0.01, 0.1  # of `compress train grasp`


class RotationNet(GraspNet):
    """The layers of `GraspNet`, run on 16 turns of the picture; one push and one grasp come out."""

    turned: Tensor
    back: Tensor

    def __init__(self) -> None:
        super().__init__(NARROW)
        self.head = nn.Conv2d(NARROW[0], 4 * 2, 1)
        views, cells = zip(*(turn(k) for k in range(ANGLES)), strict=True)
        self.register_buffer("turned", torch.stack(views))
        self.register_buffer("back", torch.stack(cells))

    def logits(self, height: Tensor) -> Tensor:
        """As `GraspNet`'s."""
        margin = (PADDED - SIDE) // 2
        padded = functional.pad(height, [margin] * 4).flatten(1)
        views = padded[:, self.turned].view(-1, 1, PADDED, PADDED)
        values = super().logits(views).view(-1, ANGLES, 2, PADDED * PADDED)
        cells = self.back[None, :, None].expand(height.shape[0], -1, 2, -1)
        values = values.gather(3, cells).view(-1, ANGLES, 2, SIDE, SIDE)
        return torch.cat([values[:, :, 0], values[:, :JAW_ANGLES, 1]], dim=1)


def turn(k: int) -> tuple[Tensor, Tensor]:
    """Turn a map by k * 22.5 degrees, nearest: that direction comes to lie along the rows.

    Returns:
        For each cell of the turned map the index of what it shows in the padded one; for each of
        the map the index of where it is in the turned one.
    """
    angle = 2 * np.pi * k / ANGLES
    cosine, sine = np.cos(angle), np.sin(angle)
    found = []
    for side, forward in ((PADDED, 1), (SIDE, -1)):
        row, column = np.indices((side, side)).reshape(2, -1) - (side - 1) / 2
        x = cosine * column - forward * sine * row
        y = forward * sine * column + cosine * row
        cell = np.rint(np.stack([y, x]) + (PADDED - 1) / 2).astype(np.int64)
        within = ((cell >= 0) & (cell < PADDED)).all(axis=0)
        # Beyond the padded map is what is in its corner: nothing.
        found.append(torch.from_numpy(np.where(within, cell[0] * PADDED + cell[1], 0)))
    return found[0], found[1]


class ColorNet(GraspNet):
    """`GraspNet`, with the colours in three more channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem[0] = nn.Conv2d(4, self.widths[0], 5, 2, 2, bias=False)


@dataclass(frozen=True)
class Variant:
    """A network and how many channels it sees."""

    make: type[GraspNet]
    channels: int = 1

    def example(self) -> Tensor:
        """Return a picture."""
        return torch.zeros(1, self.channels, SIDE, SIDE)


VARIANTS = {
    "channels": Variant(GraspNet),
    "rotations": Variant(RotationNet),
    "colour": Variant(ColorNet, 4),
}


def made(folder: Path, seed: int, shards: int, processes: int) -> Trials:
    """Read shards; those that are missing are made, with their colours."""
    store = TrialStore(folder, seed, colored=True)
    make_missing(store, range(shards), processes)
    return store.read(range(shards))


def planes(trials: Trials, channels: int) -> list[NDArray[np.uint8]]:
    """Return so many of height, red, green, blue, each (states, 112, 112).

    Colours are packed as heights are, of which 255 is unseen; what comes of that is 0 to .254.
    """
    if trials.colors is None or channels == 1:
        return [trials.heights]
    return [trials.heights, *np.minimum(np.moveaxis(trials.colors, 3, 0), 254)]


def learn(network: GraspNet, data: Sequence[Samples], steps: int, seed: int, name: str) -> None:
    """Learn from the same actions in each of the planes `data`."""
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=steps, pct_start=WARM_UP, cycle_momentum=False
    )
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    for step in progress(range(steps), total=steps, desc=f"{name} {seed}", unit="step"):
        # The same random numbers turn and shift every plane alike.
        batches = [draw_batch(each, BATCH, np.random.default_rng((seed, step))) for each in data]
        picture = torch.from_numpy(np.concatenate([each.height for each in batches], axis=1))
        index, value = torch.from_numpy(batches[0].index), torch.from_numpy(batches[0].value)
        with torch.autocast("cpu", torch.bfloat16):
            loss = executed_loss(network, picture, index, value)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    network.eval()


def judge(network: GraspNet, trials: Trials, channels: int) -> dict[str, float]:
    """Compare the values of grasps with what they came to."""
    values = np.empty(len(trials.grasps), np.float32)
    pictures = to_metres(np.stack(planes(trials, channels), axis=1))
    for state in np.unique(trials.grasps[:, 0]):
        tried = trials.grasps[:, 0] == state
        with torch.no_grad():
            q = network(torch.from_numpy(pictures[state : state + 1]))[0].numpy()
        _, row, column, angle, _ = trials.grasps[tried].T
        values[tried] = q[ANGLES + angle, row, column]
    return scores(trials.grasps, values)


def times(names: Sequence[str], folder: Path) -> dict[str, float]:
    """Return the median milliseconds of each network."""
    runs = {}
    for name in names:
        picture = VARIANTS[name].example()
        file = folder / f"{name}.onnx"
        network = VARIANTS[name].make().eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(network, (picture,), file, input_names=["picture"], dynamo=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        runs[name] = partial(session.run, None, {"picture": picture.numpy()})
    return {name: each["p50"] for name, each in latencies(runs).items()}


def row(name: str, results: Sequence[dict[str, float]], milliseconds: float) -> str:
    """Put the seeds of a network together: each figure's mean, and its range."""
    cells = []
    for figure in ("auc", "best_grasp", "brier"):
        each = [result[figure] for result in results]
        cells.append(f"{np.mean(each):.3f} ({min(each):.3f} to {max(each):.3f})")
    network, picture = VARIANTS[name].make().eval(), VARIANTS[name].example()
    work = macs(network, {"picture": picture}) / 1e6
    return (
        f"| {name} | {' | '.join(cells)} | {work:.0f} | {parameters(network):,} "
        f"| {milliseconds:.2f} |"
    )


def main() -> None:
    """Make trials, train, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("output/grasp_networks"))
    parser.add_argument("--trials", type=Path, default=Path("output/grasp_networks/trials"))
    parser.add_argument("--shards", type=int, default=12, help="to learn from")
    parser.add_argument("--held-out", type=int, default=2, help="shards")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    trials = made(arguments.trials, TRAINED, arguments.shards, arguments.threads)
    held_out = made(arguments.trials, HELD_OUT, arguments.held_out, arguments.threads)
    names = [name for name in VARIANTS if name != "colour" or trials.colors is not None]
    data = samples(trials)
    arguments.output.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for seed in arguments.seeds:
        for name in names:
            file = arguments.output / f"{name}-{arguments.shards}-{arguments.steps}-{seed}.json"
            if not file.exists():
                torch.manual_seed(seed)
                network, channels = VARIANTS[name].make(), VARIANTS[name].channels
                planar = [replace(data, heights=each) for each in planes(trials, channels)]
                learn(network, planar, arguments.steps, seed, name)
                write_whole(file, json.dumps(judge(network, held_out, channels)).encode())
            results[name].append(json.loads(file.read_text()))
    print(
        f"{len(data.value)} grasps in {len(data.heights)} states, {arguments.steps} steps, "
        f"{len(arguments.seeds)} seeds; {len(held_out.grasps)} held-out grasps\n"
    )
    print("| network | AUC | best of a state succeeds | Brier | MMAC | weights | p50 [ms] |")
    print("|---|---|---|---|---|---|---|")
    found = times(names, arguments.output)
    for name in names:
        print(row(name, results[name], found[name]))


if __name__ == "__main__":
    main()
