"""The `replay` command line. What a sub-command needs is imported when it runs."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from edge_runtime.command import run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_replay.protocol import ReplayableSkill

_CONVERT_RATE = 10.0
_CAMERA_PARAMETERS = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run the console script `replay`; return its exit code."""
    # Ending this process ends the node process too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return run_command(_parser(), argv)


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
    compare.set_defaults(run=_compare)
    show = commands.add_parser("show", help="print the figures of a run")
    show.add_argument("report", type=Path, metavar="DIR", help="output of a run")
    show.set_defaults(run=_show)
    return parser


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
        "with less than 5 %% unanswered",
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
    parser.set_defaults(run=_run)


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="images (.png, .jpg), or rgb.txt as TUM has it")
    parser.add_argument("bag", type=Path, help="bag directory to make")
    parser.add_argument(
        "--rate", type=_positive, default=_CONVERT_RATE, help="Hz, without rgb.txt (default 10)"
    )
    parser.add_argument("--skill", help="skill that reads the folder's labels and camera matrix")
    parser.add_argument("--camera", type=_camera, metavar="FX,FY,CX,CY", help="pixels")
    parser.add_argument(
        "--compressed", action="store_true", help="keep the image files as CompressedImage"
    )
    parser.add_argument("--storage", choices=("sqlite3", "mcap"), default="sqlite3")
    parser.set_defaults(run=_convert)


def _run(args: argparse.Namespace) -> None:
    from edge_replay.run import Settings, run
    from edge_replay.summary import run_table

    skill = _skill(args.skill)
    with tempfile.TemporaryDirectory() as scratch:
        bag = args.bag
        if args.folder is not None:
            from edge_replay.convert import convert

            bag = Path(scratch) / args.folder.absolute().name
            convert(args.folder, bag, _CONVERT_RATE, skill=skill)
        report = run(
            skill,
            Settings(
                bag=bag,
                folder=args.folder,
                output=args.output,
                rate=args.rate,
                seconds=args.seconds,
                bundle=args.bundle,
                labels=args.labels,
                topics=dict(args.topic),
                parameters=dict(args.param),
            ),
        )
    _say(run_table([report]))
    _remark(report.notes)
    _say(f"report: {args.output / 'report.html'}")


def _convert(args: argparse.Namespace) -> None:
    from edge_replay.convert import convert

    done = convert(
        args.folder,
        args.bag,
        args.rate,
        skill=_skill(args.skill) if args.skill else None,
        camera=args.camera,
        compressed=args.compressed,
        storage=args.storage,
    )
    _say(f"{args.bag}: {done.images} images, {'with' if done.labelled else 'without'} labels")
    _remark(done.notes)


def _compare(args: argparse.Namespace) -> None:
    from edge_replay.results import load_report
    from edge_replay.summary import run_table

    reports = [load_report(path) for path in args.reports]
    _say(run_table(reports))
    if args.output is not None:
        from edge_replay.comparison import write_comparison

        write_comparison(args.output, reports)


def _show(args: argparse.Namespace) -> None:
    from edge_replay.results import load_report
    from edge_replay.summary import run_table

    _say(run_table([load_report(args.report)]))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _remark(notes: Sequence[str]) -> None:
    for note in notes:
        sys.stderr.write(f"note: {note}\n")


def _skill(name: str) -> ReplayableSkill:
    from edge_runtime.skills import load_skill

    return cast("ReplayableSkill", load_skill(name))


def _rate(text: str) -> float | Literal["bag", "max"]:
    words: dict[str, Literal["bag", "max"]] = {"bag": "bag", "max": "max"}
    if text in words:
        return words[text]
    try:
        return _positive(text)
    except ValueError:
        message = f"{text!r} is neither a rate in Hz above 0, nor 'bag', nor 'max'"
        raise argparse.ArgumentTypeError(message) from None


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        message = f"{text} is not above 0"
        raise argparse.ArgumentTypeError(message)
    return value


def _camera(text: str) -> tuple[float, ...]:
    values = tuple(float(word) for word in text.split(","))
    if len(values) != _CAMERA_PARAMETERS:
        message = f"{text!r} has {len(values)} numbers, not 4: FX,FY,CX,CY"
        raise argparse.ArgumentTypeError(message)
    return values


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
