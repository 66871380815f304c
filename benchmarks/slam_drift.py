"""Whether the eight bits of the update operator do more harm late in a sequence than early.

    python benchmarks/slam_drift.py [BUNDLE] [--sequence FOLDER[@FIRST:END]] [--every 5]

Tracks with the bundle's INT8 engines. At every fifth step the float32 engine gets the same inputs,
hidden states of eight bits among them: what differs is what one step of eight bits adds. The root
mean square of the difference is told as a share of the root mean square of the float32 output, the
mean over the steps of a quarter of the frames. A state that drifts shows in the later quarters as a
larger share, or as a larger state.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from compressed_slam.engines import EngineNetworks
from compressed_slam.offline.evaluating import open_part
from compressed_slam.offline.tracking_accuracy import track
from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engines
from edge_runtime.share import shipped_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compressed_slam.frame import Frame
    from edge_compression.protocol import Arrays, Run

SEQUENCE = str(Path("../shared/data/slam/redkitchen@200:400"))
OUTPUTS = ("next_net", "delta", "weight")


class Beside:
    """The INT8 step, and how far it is from float32's.

    Attributes:
        frame: that is being tracked.
        shares: (frame, share by output, mean of the state's absolute values).
    """

    def __init__(self, bundle: Path, every: int) -> None:
        loaded = load_bundle(bundle, "slam")
        engines = open_engines(loaded, threads=1, precision="int8")
        self.runs: dict[str, Run] = {name: engine.run for name, engine in engines.items()}
        self._quantised = self.runs["update"]
        self._exact = open_engines(loaded, threads=1, precision="fp32")["update"].run
        self.runs["update"] = self._both
        self._every = every
        self._steps = 0
        self.frame = 0
        self.shares: list[tuple[int, list[float], float]] = []

    def _both(self, inputs: Arrays) -> Arrays:
        found = self._quantised(inputs)
        self._steps += 1
        if self._steps % self._every == 0:
            exact = self._exact(inputs)
            shares = [_share(found[name], exact[name]) for name in OUTPUTS]
            self.shares.append((self.frame, shares, float(np.abs(found["next_net"]).mean())))
        return found


def _share(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.sqrt(np.square(found - exact).mean() / np.square(exact).mean()))


def main() -> None:
    """Track, and print a Markdown table by quarters of the sequence."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--sequence", default=SEQUENCE)
    parser.add_argument("--every", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    beside = Beside(arguments.bundle or shipped_bundle("slam"), arguments.every)
    recording = open_part(arguments.sequence, "rgbd")

    def counted() -> Iterator[Frame]:
        for beside.frame, frame in enumerate(recording.frames()):
            yield frame

    found = track(EngineNetworks(beside.runs), replace(recording, frames=counted))
    _print("frames", "steps", *(f"share of {name}" for name in OUTPUTS), "mean state, absolute")
    _print(*["---"] * (len(OUTPUTS) + 3))
    for rows in np.array_split(np.arange(found.frames), 4):
        inside = [each for each in beside.shares if rows[0] <= each[0] <= rows[-1]]
        shares = np.mean([shares for _, shares, _ in inside], axis=0)
        state = float(np.mean([state for *_, state in inside]))
        _print(
            f"{rows[0]} to {rows[-1]}",
            str(len(inside)),
            *(f"{share:.4f}" for share in shares),
            f"{state:.3f}",
        )
    print(f"\nATE {found.ate:.4f} m, {100 * found.tracked:.1f} % of {found.frames} frames tracked")


def _print(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
