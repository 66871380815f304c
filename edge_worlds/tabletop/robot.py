"""A simulated robot with a camera over a table: publishes images, carries out actions.

    tabletop_robot OUTPUT --packed 5

beside a `grasp_node`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.command import run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_worlds.tabletop.scene import Scene


def _scene(args: argparse.Namespace) -> Scene:
    from edge_worlds.tabletop.packing import packed_blocks
    from edge_worlds.tabletop.scene import random_pile, read_scene

    if args.scene is not None:
        return read_scene(args.scene, args.meshes or args.scene.parent)
    make, count = (random_pile, args.pile) if args.pile else (packed_blocks, args.packed)
    return make(np.random.default_rng(args.seed), count)


def _run(args: argparse.Namespace) -> None:
    from edge_worlds.tabletop.camera import PERFECT, REAL
    from edge_worlds.tabletop.episode import LOG, Episode
    from edge_worlds.tabletop.robot_node import clear_table, pose_text

    faults = REAL if args.faults == "real" else PERFECT
    episode = Episode(_scene(args), args.output, args.seed, faults)
    sys.stdout.write(f"camera_pose: {pose_text(episode.camera_pose)}\n")
    sys.stdout.flush()
    result = clear_table(
        episode, rate=args.rate, action_time=args.action_time, patience=args.patience
    )
    actions = episode.log["actions"]
    grasped = sum(action["grasped"] for action in actions)
    sys.stdout.write(
        f"{result}: {grasped} of {episode.log['objects']} objects grasped in {len(actions)} "
        f"actions; {args.output / LOG}\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tabletop_robot", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("output", type=Path, help="folder for log and pictures; resumed if begun")
    scene = parser.add_mutually_exclusive_group(required=True)
    scene.add_argument("--scene", type=Path, help="a test case of VPG")
    scene.add_argument("--pile", type=_count, help="so many random objects, dropped")
    scene.add_argument("--packed", type=_count, help="so many blocks that touch")
    parser.add_argument("--meshes", type=Path, help="of the scene (default: its folder)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--faults", choices=("real", "perfect"), default="real", help="of the camera"
    )
    parser.add_argument("--rate", type=_positive, default=10.0, help="of the images [Hz]")
    parser.add_argument(
        "--action-time",
        type=float,
        default=0.0,
        help="seconds of an action, without images; with mode continuous more than retry_after",
    )
    parser.add_argument(
        "--patience", type=_positive, default=60.0, help="seconds without an action, then it ends"
    )
    parser.set_defaults(run=_run)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:  # noqa: PLR2004
        message = f"{text!r} is not allowed: give 1 to 100"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not 0 < value < np.inf:
        message = f"{text!r} is not allowed: give a number above 0"
        raise argparse.ArgumentTypeError(message)
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_command(_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
