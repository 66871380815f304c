"""`compress evaluate`: a skill's own test routine, its trials in parallel and resumable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_compression.claiming import claim
from edge_compression.held_out import HeldOutEvaluation
from edge_compression.job import GOES_ON, TOOLS
from edge_compression.protocol import CompressibleSkill, EvaluableSkill
from edge_compression.results import EvaluationReport
from edge_compression.routine_report import render_evaluation
from edge_runtime.bundle import load_bundle
from edge_runtime.errors import SettingError
from edge_runtime.files import write_whole
from edge_runtime.host import provenance
from edge_runtime.output_folder import output_folder
from edge_runtime.progress import progress
from edge_runtime.skills import load_skill

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from edge_compression.protocol import Evaluation, Trial

TRIALS = "trials"
JSON_FILE = "evaluation.json"
HTML_FILE = "evaluation.html"
_IDENTITY = ".identity.json"
_OURS = {"skill", "bundle", "output", "restart", "dask", "json", "debug", "run", "command"}


def routine_of(name: str) -> Evaluation:
    """Return the test routine of an installed skill: its own, or held-out data of a recipe.

    Raises:
        SettingError: no such skill, or it has none.
    """
    skill = load_skill(name)
    if isinstance(skill, EvaluableSkill):
        return skill.evaluation
    if isinstance(skill, CompressibleSkill):
        return HeldOutEvaluation(skill)
    message = (
        f"the skill '{name}' has no test routine: its class must have `evaluation`, see "
        "edge_compression.protocol.Evaluation"
    )
    raise SettingError(message)


def run_routine(args: argparse.Namespace) -> tuple[EvaluationReport, Path]:
    """Run the trials that are not done yet; write `evaluation.json` and `evaluation.html`.

    Every trial's result is kept in `trials/` of the output folder: an evaluation that was cut off
    goes on.

    Args:
        args: `skill`, `bundle`, `output`, `restart`, the `command` as it was typed, and what the
            routine has added.

    Returns:
        The report, and the folder that it lies in.

    Raises:
        SuiteError: the bundle or an argument is refused, or the folder is of another evaluation.
    """
    routine = routine_of(args.skill)
    digest = "" if args.bundle is None else load_bundle(args.bundle, args.skill).digest
    output = args.output or Path("output") / f"{args.skill}_evaluation"
    with output_folder(output, GOES_ON):
        folder = output / TRIALS
        if args.restart:
            shutil.rmtree(folder, ignore_errors=True)
        arguments, trials = _described(args), routine.trials(args)
        claim(folder / _IDENTITY, {**arguments, "bundle": digest}, "an evaluation")
        results = _run(folder, trials)
        found = routine.summarise(args, results)
        report = EvaluationReport(
            skill=args.skill,
            verdict=found.verdict,
            metrics=dict(found.metrics),
            explained=dict(routine.metrics),
            tables={caption: [*map(dict, rows)] for caption, rows in found.tables.items()},
            arguments=arguments,
            bundle_digest=digest,
            trials=len(results),
            **provenance(*TOOLS),
        )
        write_whole(output / JSON_FILE, report.model_dump_json(indent=2))
        render_evaluation(report, output / HTML_FILE, args.command, found.pictures)
    return report, output


def _run(folder: Path, trials: Mapping[str, Trial]) -> dict[str, dict[str, Any]]:
    import joblib

    files = {name: folder / f"{name}.json" for name in trials}
    missing = [name for name, file in files.items() if not file.exists()]
    parallel = joblib.Parallel(n_jobs=-1, return_as="generator_unordered")
    jobs = (joblib.delayed(_named)(name, trials[name]) for name in missing)
    done = len(trials) - len(missing)
    with progress(total=len(trials), initial=done, desc="evaluating", unit="trial") as bar:
        for name, result in parallel(jobs):
            write_whole(files[name], json.dumps(result))
            bar.update()
    return {name: json.loads(file.read_bytes()) for name, file in files.items()}


def _named(name: str, trial: Trial) -> tuple[str, dict[str, Any]]:
    return name, dict(trial())


def _described(args: argparse.Namespace) -> dict[str, Any]:
    """Return the routine's own arguments as JSON values."""
    plain = json.dumps({k: v for k, v in vars(args).items() if k not in _OURS}, default=str)
    described: dict[str, Any] = json.loads(plain)
    return described
