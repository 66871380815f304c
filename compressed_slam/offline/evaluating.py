"""`compress evaluate slam`: a bundle's engines on recordings and in rendered rooms."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from compressed_slam.offline.recorded import Mode, open_recording, preset_of, walk_room
from edge_compression.protocol import EvaluationResult, Metric
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping

    from compressed_slam.offline.recorded import Recording
    from edge_compression.protocol import Trial

TRACKING = {
    "ate": Metric("position error of the refined trajectory, mean over recordings", "m", "lower"),
    "drift": Metric(
        "position error of what was said in its time, mean over recordings", "m", "lower"
    ),
    "rpe_m": Metric("error of the motion from frame to frame, mean", "m", "lower"),
    "rpe_deg": Metric("error of the rotation from frame to frame, mean", "degrees", "lower"),
    "tracked": Metric("share of the frames that were tracked, mean"),
    "frame_ms": Metric(
        "median time of a frame as it was evaluated, mean over recordings", "ms", "lower"
    ),
}
_PART = re.compile(r"(?P<folder>.+)@(?P<first>\d*):(?P<end>\d*)(:(?P<every>[1-9]\d*))?")


class SlamEvaluation:
    """Tracks every recording with the bundle's engines."""

    metrics = TRACKING

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which recordings, how, and by which engines."""
        parser.add_argument(
            "--sequences",
            nargs="+",
            default=[],
            metavar="FOLDER[@FIRST:END[:EVERY]]",
            help="folders of data sets, of which only some frames may be tracked",
        )
        parser.add_argument(
            "--rooms", type=int, default=0, metavar="N", help="walks of 5 m through rendered rooms"
        )
        parser.add_argument(
            "--modes",
            nargs="+",
            choices=get_args(Mode),
            default=["rgbd"],
            help="what of a recording is used (default: rgbd)",
        )
        parser.add_argument(
            "--precision", choices=("fp32", "fp16", "int8"), help="of the engines (default: any)"
        )
        parser.add_argument(
            "--threads", type=int, default=1, help="of each process: recordings run side by side"
        )

    def trials(self, args: Namespace) -> Mapping[str, Trial]:
        """Return one for each recording and mode.

        Raises:
            SettingError: no bundle, or nothing to track.
        """
        if args.bundle is None:
            message = "no --bundle: give the folder of SLAM's engines"
            raise SettingError(message)
        jobs: dict[str, Trial] = {}
        for mode in args.modes:
            opened = [partial(open_part, text, mode) for text in args.sequences]
            if mode != "stereo":
                opened += [partial(walk_room, seed, mode) for seed in _room_seeds(args.rooms)]
            for number, recording in enumerate(opened):
                jobs[f"{number:02d}_{mode}"] = partial(
                    _trial, recording, args.bundle, args.precision, args.threads
                )
        if not jobs:
            message = "nothing to track: give --sequences FOLDER ... or --rooms N"
            raise SettingError(message)
        return jobs

    def summarise(
        self, args: Namespace, results: Mapping[str, Mapping[str, Any]]
    ) -> EvaluationResult:
        """Return the means over the recordings, and one row and picture of each."""
        from compressed_slam.offline.pictures import draw_paths

        del args
        rows = [dict(result["row"]) for result in results.values()]
        means = {name: float(np.mean([row[name] for row in rows])) for name in TRACKING}
        verdict = (
            f"ATE {means['ate']:.4f} m, {100 * means['tracked']:.1f} % of the frames tracked, "
            f"mean of {len(rows)}"
        )
        pictures = [
            (
                f"{result['row']['recording']}, {result['row']['mode']}: truth and estimate",
                draw_paths(np.array(result["truth"]), {"estimate": np.array(result["estimate"])}),
            )
            for result in results.values()
        ]
        return EvaluationResult(verdict, means, {"Recordings": rows}, pictures)


def _room_seeds(count: int) -> range:
    first = 900_000  # far from those that training renders
    return range(first, first + count)


def open_part(text: str, mode: Mode) -> Recording:
    """Open `FOLDER` or some frames of it: `FOLDER@FIRST:END`, `FOLDER@FIRST:END:EVERY`.

    See `open_recording`.
    """
    match = _PART.fullmatch(text)
    folder = Path(match["folder"] if match else text)
    rows = (
        slice(*(int(part) if part else None for part in match.group("first", "end", "every")))
        if match
        else slice(None)
    )
    return open_recording(folder, mode, preset=preset_of(folder), rows=rows)


def _trial(
    recording: partial[Recording], bundle: Path, precision: str | None, threads: int
) -> dict[str, Any]:
    import torch

    from compressed_slam.engines import EngineNetworks
    from compressed_slam.offline.tracking_accuracy import track
    from edge_runtime.bundle import load_bundle
    from edge_runtime.engine import open_engines

    torch.set_num_threads(threads)
    engines = open_engines(load_bundle(bundle, "slam"), threads=threads, precision=precision)
    opened = recording()
    found = track(EngineNetworks({name: engine.run for name, engine in engines.items()}), opened)
    for engine in engines.values():
        engine.close()
    return {
        "row": {"recording": opened.name, "mode": opened.mode, **found.row()},
        "truth": found.truth.positions.round(4).tolist(),
        "estimate": found.aligned.positions.round(4).tolist(),
    }
