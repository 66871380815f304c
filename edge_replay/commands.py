"""The `replay` command line. What a sub-command needs is imported when it runs."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge_runtime.command import run_command
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_replay.protocol import ReplayableSkill
    from edge_replay.results import RunReport


def main(argv: Sequence[str] | None = None) -> int:
    """Run the console script `replay`; return its exit code."""
    # Asked to end, it still ends its node and removes its temporary files.
    return run_command(_parser(), argv, interrupts=[signal.SIGTERM])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="replay", description="Play recordings into the installed nodes and judge the answers."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands.add_parser("run", help="play a recording into a skill's node"))
    _add_convert(commands.add_parser("convert", help="make a ROS 2 bag of a folder of images"))
    compare = commands.add_parser("compare", help="set several runs side by side")
    compare.add_argument("reports", type=Path, nargs="+", metavar="DIR", help="outputs of runs")
    compare.add_argument("--output", type=Path, metavar="FILE", help="also write a page, .html")
    _add_json(compare)
    compare.set_defaults(run=_compare)
    show = commands.add_parser("show", help="print the figures of a run")
    show.add_argument("report", type=Path, metavar="DIR", help="output of a run")
    _add_json(show)
    show.set_defaults(run=_show)
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--skill", required=True, help="installed skill, for example pose")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--bag", type=Path, help="ROS 1 .bag file, or ROS 2 bag (sqlite3, mcap)")
    source.add_argument("--folder", type=Path, help="images; as `replay convert` takes them")
    parser.add_argument("--output", type=Path, required=True, help="directory for the report")
    parser.add_argument("--bundle", type=Path, help="engine bundle; default: the node's own")
    parser.add_argument(
        "--rate",
        type=_rate,
        default="bag",
        help="Hz, or 'bag' for the recorded pace (default), or 'max' to search the highest rate "
        "with less than 5 %% of the frames lost",
    )
    parser.add_argument(
        "--seconds", type=_positive, help="play over and over for so long; default: once through"
    )
    parser.add_argument("--labels", type=Path, help="default: labels.json in the bag directory")
    parser.add_argument(
        "--topic",
        type=_assignment("="),
        action="append",
        default=[],
        metavar="INPUT=TOPIC",
        help="topic of the bag for an input of the node; INPUT= leaves an optional input out",
    )
    parser.add_argument(
        "--param",
        type=_assignment(":="),
        action="append",
        default=[],
        metavar="NAME:=VALUE",
        help="parameter of the node",
    )
    parser.add_argument(
        "--rerun", type=Path, metavar="FILE", help="also write a recording for Rerun, .rrd"
    )
    _add_json(parser)
    parser.set_defaults(run=_run)


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="images (.png, .jpg), or a sequence of TUM, ETH3D, EuRoC, 7-Scenes, TartanAir or NDDS",
    )
    parser.add_argument("bag", type=Path, metavar="BAG", help="bag directory to make")
    parser.add_argument(
        "--rate",
        type=_positive,
        help="Hz, for images without times (default: the data set's, else 10)",
    )
    parser.add_argument("--skill", help="skill that reads the folder's labels and camera matrix")
    parser.add_argument("--camera", type=_camera, metavar="FX,FY,CX,CY", help="pixels")
    parser.add_argument(
        "--compressed", action="store_true", help="keep the image files as CompressedImage"
    )
    parser.add_argument("--storage", choices=("sqlite3", "mcap"), default="sqlite3")
    _add_json(parser)
    parser.set_defaults(run=_convert)


def _run(args: argparse.Namespace) -> None:
    from edge_replay.convert import convert
    from edge_replay.datasets.layouts import fitting_layouts
    from edge_replay.run import RunOptions, run
    from edge_runtime.disk_space import enough_space

    skill = _skill(args.skill)
    # Resolved, because the bag and the report are named after it, and ".." is no name.
    folder = args.folder and args.folder.resolve()
    with enough_space(f"--output {args.output}"), tempfile.TemporaryDirectory() as scratch:
        bag = args.bag
        notes: tuple[str, ...] = ()
        layout = None
        if folder is not None:
            bag = Path(scratch) / folder.name
            notes = convert(folder, bag, skill=skill).notes
            layout = next(iter(fitting_layouts(folder)), None)
        report = run(
            skill,
            RunOptions(
                bag=bag,
                folder=folder,
                output=args.output,
                rate=args.rate,
                seconds=args.seconds,
                bundle=args.bundle,
                labels=args.labels,
                topics=dict(args.topic),
                parameters=dict(args.param),
                notes=notes,
                layout=layout,
                rerun=args.rerun,
            ),
        )
    if args.json:
        _say(report.model_dump_json(indent=2))
        return
    _tell(report)
    _remark(report.remarks)
    _say(f"report: {args.output / 'report.html'}")


def _convert(args: argparse.Namespace) -> None:
    from edge_replay.convert import convert
    from edge_runtime.disk_space import enough_space

    with enough_space(f"the bag {args.bag}"):
        done = convert(
            args.folder,
            args.bag,
            args.rate,
            skill=_skill(args.skill) if args.skill else None,
            camera=args.camera,
            compressed=args.compressed,
            storage=args.storage,
        )
    if args.json:
        _say(json.dumps({"bag": str(args.bag), **asdict(done)}, indent=2))
        return
    parts = [f"{done.images} images"]
    parts += [f"{done.depths} depth images"] if done.depths else []
    parts += [f"{done.rights} images of the right camera"] if done.rights else []
    parts += [f"{done.poses} ground-truth poses"] if done.poses else []
    _say(f"{args.bag}: {', '.join(parts)}, {'with' if done.labelled else 'without'} labels")
    _remark(done.notes)


def _compare(args: argparse.Namespace) -> None:
    from edge_replay.results import load_report
    from edge_replay.summary import MARK, run_names, run_table, why_unmarked

    _check_page(args.output)
    reports = [load_report(path) for path in args.reports]
    names = run_names(reports, args.reports)
    if args.json:
        _say(json.dumps([report.model_dump(mode="json") for report in reports], indent=2))
    else:
        _say(run_table(reports, names))
        _say(why_unmarked(reports) or f"{MARK} the better value")
    if args.output is not None:
        from edge_replay.comparison import write_comparison

        write_comparison(args.output, reports, names, args.reports)


def _check_page(file: Path | None) -> None:
    if file is None:
        return
    if file.is_dir():
        message = f"--output {file} is a folder: give a file in it, such as {file / 'runs.html'}"
        raise SettingError(message)
    if not file.parent.is_dir():
        message = f"--output {file}: there is no folder {file.parent}; make it, or give another"
        raise SettingError(message)


def _show(args: argparse.Namespace) -> None:
    from edge_replay.results import load_report

    report = load_report(args.report)
    if args.json:
        _say(report.model_dump_json(indent=2))
    else:
        _tell(report)


def _tell(report: RunReport) -> None:
    from edge_replay.summary import run_table
    from edge_replay.verdict import verdict

    _say(verdict(report))
    _say(run_table([report]))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _remark(notes: Sequence[str]) -> None:
    for note in notes:
        sys.stderr.write(f"note: {note}\n")


def _skill(name: str) -> ReplayableSkill:
    from edge_replay.protocol import ReplayableSkill
    from edge_runtime.skills import load_skill

    skill = load_skill(name)
    if not isinstance(skill, ReplayableSkill):
        message = (
            f"the skill '{name}' has no node to replay into: its class must have everything of "
            "edge_replay.protocol.ReplayableSkill"
        )
        raise SettingError(message)
    return skill


def _rate(text: str) -> float | Literal["bag", "max"]:
    words: dict[str, Literal["bag", "max"]] = {"bag": "bag", "max": "max"}
    if text in words:
        return words[text]
    return _positive(text, "a rate in Hz above 0, or 'bag', or 'max'")


def _positive(text: str, allowed: str = "a number above 0") -> float:
    value = _number(text)
    if not 0 < value < math.inf:
        message = f"{text!r} is not allowed: give {allowed}"
        raise argparse.ArgumentTypeError(message)
    return value


def _camera(text: str) -> tuple[float, ...]:
    values = tuple(_number(word) for word in text.split(","))
    # A focal length of 0 or less would be no camera; its centre may lie outside the image.
    if len(values) != 4 or min(values[:2]) <= 0 or not all(map(math.isfinite, values)):  # noqa: PLR2004
        message = f"{text!r} is not allowed: give FX,FY,CX,CY in pixels, FX and FY above 0"
        raise argparse.ArgumentTypeError(message)
    return values


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


class _assignment:  # noqa: N801 (argparse shows the name of a type in its messages)
    """A `name<sign>value` argument."""

    def __init__(self, sign: str) -> None:
        self._sign = sign

    def __call__(self, text: str) -> tuple[str, str]:
        name, sign, value = text.partition(self._sign)
        if not sign or not name:
            message = f"{text!r} is not NAME{self._sign}VALUE"
            raise argparse.ArgumentTypeError(message)
        return name, value
