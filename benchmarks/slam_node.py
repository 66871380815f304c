"""Whether the node `slam` follows a camera, and stays as small as it was: one walk, there and back.

    python benchmarks/slam_node.py FOLDER [--frames 10000] [--rate 30] [--first 0] [--last 400]
        [--bundle DIR] [--param NAME:=VALUE]

Starts `slam_node` as a process of its own and shows it the pictures of a folder (TUM, 7-Scenes and
others that `replay run` takes), to the last one and back to the first, over and over, at that rate,
answered or not, and never resets it. Prints of each tenth how many pictures were answered, the time
from a picture's publication to its pose, the parts of that inside the node, and the memory that is
resident in the node at its end.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from compressed_slam.skill import SlamSkill
from edge_replay.bags import Recording
from edge_replay.convert import convert
from edge_replay.datasets.layouts import fitting_layouts
from edge_replay.domain import private_domain
from edge_replay.link import Link
from edge_replay.node_process import NodeProcess, find_executable
from edge_replay.playback import Player

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_replay.bags import RecordedFrame
    from edge_replay.playback import Pass

READY_S = 60.0
PARTS = 10
MIB = 1 << 20


class Walk:
    """Frames there and back; tells what memory a process had after each tenth of them."""

    def __init__(self, frames: Sequence[RecordedFrame], count: int, pid: int) -> None:
        self._frames = [*frames, *frames[-2:0:-1]]
        self._count = count
        self._process = psutil.Process(pid)
        self.resident: list[float] = []

    def __iter__(self) -> Iterator[RecordedFrame]:
        """Give copies: one that comes again would tell the player to reset the node."""
        for number in range(self._count):
            if number and number % (self._count // PARTS) == 0:
                self._look()
            yield replace(self._frames[number % len(self._frames)])

    def _look(self) -> None:
        self.resident.append(self._process.memory_info().rss / MIB)

    def end(self) -> None:
        """Tell it of the last tenth."""
        self._look()


def show(played: Pass, link: Link, resident: Sequence[float]) -> None:
    """Print the table."""
    latencies = played.latencies()
    stages: dict[str, dict[int, float]] = {}
    for received in played.received:
        if received.topic == link.latency_topic:
            message = link.decode(received)
            stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
            for value in message.status[0].values:
                stages.setdefault(value.key, {})[stamp] = float(value.value)
    names = ("queue", "track", "total")
    header = ["pictures", "answered", "to the pose, p50, p95, p99 [ms]"]
    header += [f"{name}, p50, p95 [ms]" for name in names] + ["resident [MiB]"]
    print(f"| {' | '.join(header)} |")
    print("|---" * len(header) + "|")
    each = len(played.sent) // PARTS
    for part, memory in enumerate(resident[:PARTS]):
        stamps = [sent.stamp for sent in played.sent[part * each : (part + 1) * each]]
        cells = [str((part + 1) * each), str(sum(stamp in latencies for stamp in stamps))]
        cells.append(percentiles(latencies, stamps, (50, 95, 99)))
        cells += [percentiles(stages.get(name, {}), stamps, (50, 95)) for name in names]
        print(f"| {' | '.join(cells)} | {memory:.0f} |")


def percentiles(times: dict[int, float], stamps: Sequence[int], which: Sequence[int]) -> str:
    """Return them of the times of those stamps that have one."""
    known = [times[stamp] for stamp in stamps if stamp in times]
    return ", ".join(f"{np.percentile(known, q):.1f}" for q in which) if known else "none"


def main() -> None:
    """Play, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--last", type=int, default=400, help="pictures are kept in memory")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--param", action="append", default=[], metavar="NAME:=VALUE")
    args = parser.parse_args()
    skill, folder = SlamSkill(), args.folder.resolve()
    with tempfile.TemporaryDirectory() as scratch, private_domain() as domain:
        bag = Path(scratch) / folder.name
        convert(folder, bag, skill=skill)
        recording = Recording(bag, skill.node.inputs, {})
        chosen = skill.node_parameters(recording, next(iter(fitting_layouts(folder)), None))
        given = [f"{name}:={value}" for name, value in chosen.items()] + args.param
        if args.bundle is not None:
            given.append(f"bundle:={args.bundle.resolve()}")
        words = [word for each in given for word in ("-p", each)]
        program, log = find_executable(skill.node.executable), Path(scratch) / "node.log"
        with (
            Link(skill.node, recording, domain) as link,
            NodeProcess(program, ["--ros-args", *words], log) as node,
        ):
            link.wait_ready(node, READY_S)
            frames = list(islice(recording.frames(), args.first, args.last))
            player, walk = Player(link, node), Walk(frames, args.frames, node.pid)
            player.announce(frames[0], recording.camera_infos)
            played = player.once(walk, args.rate, args.frames)
            walk.end()
            counts = link.diagnostics()
            show(played, link, walk.resident)
    told = ("keyframes in memory", "keyframes postponed", "dropped", "rejected", "failed")
    print("\n" + ", ".join(f"{name} {counts[name]}" for name in told if name in counts))


if __name__ == "__main__":
    main()
