"""The command `compress` and its sub-commands."""

from __future__ import annotations

import argparse
import shlex
import sys
from contextlib import nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.command import run_command
from edge_runtime.errors import SettingError, SuiteError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

# What needs torch or matplotlib is imported where it runs, so that --help comes at once.


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="compress", description="Train, prune, quantise and export the network of a skill."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a skill's network from first or given weights")
    _add_recipe(train)
    _add_output(train)
    _add_json(train)
    train.set_defaults(run=_train)

    run = commands.add_parser("run", help="turn a checkpoint into an engine bundle and a report")
    _add_recipe(run)
    _add_output(run)
    run.add_argument(
        "--force",
        action="store_true",
        help="put engines into the bundle that are over the recipe's limits, too",
    )
    _add_json(run)
    run.set_defaults(run=_run)

    _add_evaluate(commands)

    sensitivity = commands.add_parser(
        "sensitivity", help="show which layers of a checkpoint's network matter"
    )
    _add_recipe(sensitivity)
    sensitivity.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder (default: output/NAME_sensitivity of the recipe)",
    )
    _add_dask(sensitivity)
    _add_json(sensitivity)
    sensitivity.set_defaults(run=_sensitivity)

    build = commands.add_parser("build", help="fit a bundle to this device: plan, fastest engine")
    build.add_argument("bundle", type=Path, metavar="BUNDLE", help="its folder")
    build.add_argument(
        "--provider",
        choices=("tensorrt", "cpu"),
        help="build for this one alone (default: all that are there)",
    )
    build.add_argument(
        "--force", action="store_true", help="also what is known of this device already"
    )
    packing = build.add_mutually_exclusive_group()
    packing.add_argument(
        "--pack",
        type=Path,
        metavar="FILE",
        help="write this device's TensorRT plans there, too, for robots of the same kind",
    )
    packing.add_argument(
        "--unpack",
        type=Path,
        metavar="FILE",
        help="build nothing, take over the plans that --pack wrote on a robot of the same kind",
    )
    _add_json(build)
    build.set_defaults(run=_build)

    inspect = commands.add_parser("inspect", help="show what a bundle or a checkpoint holds")
    inspect.add_argument("path", type=Path, metavar="BUNDLE|CHECKPOINT")
    _add_json(inspect)
    inspect.set_defaults(run=_inspect)

    report = commands.add_parser("report", help="make report.html again from report.json")
    report.add_argument("folder", type=Path, metavar="DIR", help="the --output of `compress run`")
    _add_json(report)
    report.set_defaults(run=_report)

    schema = commands.add_parser("schema", help="print the JSON schema of recipes, for editors")
    schema.add_argument(
        "skill",
        nargs="?",
        metavar="SKILL",
        help="installed skill, whose `data` section is then checked, too",
    )
    schema.set_defaults(run=_schema)

    cache = commands.add_parser("cache", help="show what rendered images are kept, or clear them")
    cache.add_argument("--clear", action="store_true", help="remove them")
    cache.set_defaults(run=_cache)
    return run_command(parser, argv)


class _RoutineParser(argparse.ArgumentParser):
    """Takes the options of the skill that the first word names, too."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str], namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        if args and not args[0].startswith("-"):
            from edge_compression.routine import routine_of

            try:
                routine_of(args[0]).add_arguments(self)
            except SuiteError as error:
                return argparse.Namespace(run=partial(_refuse, error)), []
        found, unknown = super().parse_known_args(args, namespace)
        found.command = shlex.join(["compress", "evaluate", *args])
        return found, unknown


def _refuse(error: SuiteError, _: argparse.Namespace) -> None:
    raise error


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    # Sub-parsers are of the class of the first parser, unless one is told to be another.
    usual, commands._parser_class = commands._parser_class, _RoutineParser  # noqa: SLF001
    parser = commands.add_parser("evaluate", help="run a skill's own test routine")
    commands._parser_class = usual  # noqa: SLF001
    parser.add_argument("skill", metavar="SKILL", help="installed skill; stands first")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="engine bundle to evaluate")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder (default: output/SKILL_evaluation)"
    )
    parser.add_argument("--restart", action="store_true", help="run all trials anew")
    _add_dask(parser)
    _add_json(parser)
    parser.set_defaults(run=_evaluate)


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="YAML file")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder (default: output/NAME of the recipe)"
    )
    parser.add_argument(
        "--restart", action="store_true", help="train anew, whatever is in the folder"
    )
    parser.add_argument(
        "--save-every",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="of training that may be lost when it is cut off (default: 60)",
    )
    _add_dask(parser)


def _add_dask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="scheduler of a Dask cluster that runs independent trials and renders training data, "
        "such as tcp://10.0.0.5:8786 (default: processes of this machine)",
    )


def _told(args: argparse.Namespace) -> AbstractContextManager[object]:
    """Let standard output have nothing but the result where that is for programs."""
    return redirect_stdout(sys.stderr) if args.json else nullcontext()


def _seconds(text: str) -> float:
    message = f"'{text}' is no time: give seconds, 0 or more, such as 60 or 0.5"
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(message) from error
    if not value >= 0:
        raise argparse.ArgumentTypeError(message)
    return value


def _train(args: argparse.Namespace) -> None:
    from edge_compression import first_training
    from edge_compression.console import show, show_report, show_table
    from edge_compression.job import prepared
    from edge_compression.results import rows
    from edge_compression.verdict import training_verdict
    from edge_compression.workers import workers

    with (
        _told(args),
        workers(args.dask),
        prepared(args.recipe, args.output, args.save_every) as job,
    ):
        report = first_training.train_network(job, restart=args.restart)
    if args.json:
        show_report(report)
        return
    show_table(rows([report.variant], report.primary_metric))
    show(f"\n{training_verdict(report)}")
    page, checkpoint = first_training.HTML_FILE, first_training.CHECKPOINT
    show(f"\ncheckpoint  {job.output / checkpoint}\nreport      {job.output / page}")


def _run(args: argparse.Namespace) -> None:
    from edge_compression import pipeline
    from edge_compression.bundling import BUNDLE
    from edge_compression.console import show, show_report, show_table
    from edge_compression.job import prepared
    from edge_compression.report import HTML_FILE
    from edge_compression.results import rows
    from edge_compression.verdict import verdict
    from edge_compression.workers import workers

    with (
        _told(args),
        workers(args.dask),
        prepared(args.recipe, args.output, args.save_every) as job,
    ):
        report = pipeline.compress(job, force=args.force, restart=args.restart)
    if args.json:
        show_report(report)
        return
    show_table(rows(report.variants, report.primary_metric))
    for failure in report.failures:
        show(f"not in the bundle: {failure.variant}: {failure.reason}")
    show(f"\n{verdict(report)}")
    show(f"\nbundle  {job.output / BUNDLE}\nreport  {job.output / HTML_FILE}")


def _evaluate(args: argparse.Namespace) -> None:
    from edge_compression import routine
    from edge_compression.console import show, show_report, show_table
    from edge_compression.routine_report import rows
    from edge_compression.workers import workers

    with _told(args), workers(args.dask):
        report, output = routine.run_routine(args)
    if args.json:
        show_report(report)
        return
    show_table(rows(report))
    show(f"\n{report.verdict}\n\nreport  {output / routine.HTML_FILE}")


def _sensitivity(args: argparse.Namespace) -> None:
    from edge_compression import sensitivity_run
    from edge_compression.console import show, show_report, show_table
    from edge_compression.job import prepared
    from edge_compression.verdict import sensitivity_verdict
    from edge_compression.workers import workers

    with (
        _told(args),
        workers(args.dask),
        prepared(args.recipe, args.output, suffix="_sensitivity") as job,
    ):
        report = sensitivity_run.survey(job)
    if args.json:
        show_report(report)
        return
    show_table(sensitivity_run.rows(report))
    show(f"\n{sensitivity_verdict(report)}")
    show(f"\nreport  {job.output / sensitivity_run.HTML_FILE}")


def _build(args: argparse.Namespace) -> None:
    from edge_compression import building
    from edge_compression.console import show_json

    with _told(args):
        if args.unpack:
            cache = building.unpack(args.bundle, args.unpack)
        else:
            cache = building.build(args.bundle, provider=args.provider, force=args.force)
            if args.pack:
                building.pack(args.bundle, args.pack)
        building.show_cache(cache)
    if args.json:
        devices = {name: each.model_dump(mode="json") for name, each in cache.entries().items()}
        show_json({"cache": str(cache.folder), "devices": devices})


def _inspect(args: argparse.Namespace) -> None:
    from edge_compression.inspection import inspect_bundle, inspect_checkpoint

    if not args.path.exists():
        message = f"there is no '{args.path}': give a bundle's folder or a checkpoint's file"
        raise SettingError(message)
    inspect = inspect_bundle if args.path.is_dir() else inspect_checkpoint
    inspect(args.path, as_json=args.json)


def _report(args: argparse.Namespace) -> None:
    from edge_compression.console import show, show_report
    from edge_compression.report import HTML_FILE, render
    from edge_compression.results import read_report

    report = read_report(args.folder)
    render(report, args.folder / HTML_FILE)
    if args.json:
        show_report(report)
    else:
        show(str(args.folder / HTML_FILE))


def _schema(args: argparse.Namespace) -> None:
    from edge_compression.console import show_json
    from edge_compression.job import compressible_skill
    from edge_compression.recipe import recipe_schema

    show_json(recipe_schema(compressible_skill(args.skill) if args.skill else None))


def _cache(args: argparse.Namespace) -> None:
    from edge_compression.cached_sets import cached_sets, clear, rows
    from edge_compression.console import show, show_table
    from edge_runtime.caching import cache_directory

    sets = cached_sets()
    total = f"{sum(each.bytes for each in sets) / 1e9:.2f} GB in {cache_directory()}"
    if not sets:
        show(f"no rendered images in {cache_directory()}")
    elif args.clear:
        clear(sets)
        show(f"cleared {len(sets)} sets, {total}")
    else:
        show_table(rows(sets))
        show(f"\n{total}; `compress cache --clear` removes them")
