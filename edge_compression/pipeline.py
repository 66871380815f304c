"""`compress run`: checkpoint in, bundle and report out."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from edge_compression import measure
from edge_compression.aware import input_peaks, simulate
from edge_compression.bundling import make_bundle, over_limits, source
from edge_compression.calibration import network_inputs
from edge_compression.checkpoint import load_checkpoint, save_checkpoint
from edge_compression.console import say
from edge_compression.engines import make_engines
from edge_compression.job import EVALUATIONS, supervised
from edge_compression.pruning import describe_layers
from edge_compression.report import HTML_FILE, render
from edge_compression.results import JSON_FILE, CompressionReport, Failure
from edge_compression.staging import STAGES, shrink
from edge_compression.training import train
from edge_compression.training_state import TrainingLog
from edge_compression.variants import measure_variants
from edge_runtime.errors import SettingError
from edge_runtime.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from edge_compression.job import Job
    from edge_compression.results import Stage

PRUNED = "pruned.pt"
AWARE_STATE = "aware_state.pt"


def compress(job: Job, *, force: bool = False, restart: bool = False) -> CompressionReport:
    """Prune, tune, export, quantise, measure; write bundle, report and checkpoint.

    The output folder gets `bundle/`, `report.json`, `report.html`; where the network is changed
    also `pruned.pt`, `unpruned.onnx`, and what a run that was cut off goes on from: `stages/`,
    `aware_state.pt`. An engine that does not meet the recipe's `limits` is left out of the
    bundle unless `force` is given. With `restart` what an earlier run has trained is forgotten, as
    soon as the checkpoint is known to be good and the data to have enough calibration images.

    Raises:
        SuiteError: a setting, the checkpoint or the data is refused, an exported graph is wrong,
            or no engine is within the limit. An older bundle in the folder stays whole.
    """
    _require_kept(job.checkpoint, job.output)
    _require_batches(job)
    original = load_checkpoint(job.checkpoint, job.skill)
    origin = source(job)
    if job.recipe.recipe.quantise is not None:
        network_inputs(job, original, job.recipe.recipe.quantise)
    if restart:
        shutil.rmtree(job.output / STAGES, ignore_errors=True)
        shutil.rmtree(job.output / EVALUATIONS, ignore_errors=True)
        (job.output / AWARE_STATE).unlink(missing_ok=True)
    smaller, stages, aware_curve = _smaller(job, original)
    made = make_engines(job, original, smaller)
    say(f"measuring {', '.join(candidate.name for candidate in made.candidates)}")
    variants = measure_variants(job.evaluations, made.candidates, job.recipe.recipe.evaluate)
    too_bad = over_limits(job, variants)
    left_out = {**made.failures, **({} if force else too_bad)}
    forced = {name: too_bad[name] for name in too_bad if name not in left_out}
    bundle = make_bundle(job, origin, made.candidates, variants, left_out=left_out, forced=forced)
    unpruned = measure.sizes(job.skill.models(original, job.data))["macs"]
    report = CompressionReport(
        **job.heading(),
        variants=variants,
        failures=[Failure(variant=name, reason=reason) for name, reason in left_out.items()],
        stages=stages,
        layers=describe_layers(job.skill, original, job.data, smaller or original),
        aware_curve=aware_curve,
        tensors=made.tensors,
        export_difference=made.differences,
        source=origin,
        bundle_digest=bundle.digest if bundle else "",
        limits=job.recipe.recipe.limits,
        forced=list(forced),
        macs_lost_to_input=1 - unpruned / variants[0].macs,
        macs_lost_to_pruning=1 - variants[-1].macs / unpruned,
    )
    write_whole(job.output / JSON_FILE, report.model_dump_json(indent=2))
    render(report, job.output / HTML_FILE)
    if bundle is None:
        worst = "; ".join(f"{name}: {reason}" for name, reason in too_bad.items())
        message = (
            f"no bundle was written: {worst}; prune less, tune longer, widen the limits, or give "
            f"--force ({job.output / HTML_FILE} shows all)"
        )
        raise SettingError(message)
    return report


def _require_kept(checkpoint: Path, output: Path) -> None:
    """Refuse a checkpoint that the run itself would write over."""
    ours = [(output / name).resolve() for name in (PRUNED, AWARE_STATE, STAGES)]
    place = checkpoint.resolve()
    if any(place.is_relative_to(written) for written in ours):
        message = (
            f"checkpoint '{checkpoint}' is a file that a run with --output {output} writes itself: "
            "give another --output, or copy the checkpoint out of it"
        )
        raise SettingError(message)


def _require_batches(job: Job) -> None:
    """Refuse now what would fail when the pruning is done, for want of batches and a loss."""
    recipe = job.recipe.recipe
    wanted = {
        "finetune": recipe.finetune,
        "quantise.aware": recipe.quantise and recipe.quantise.aware,
        "saliency: taylor": recipe.prune and recipe.prune.saliency == "taylor",
    }
    for name, there in wanted.items():
        if there:
            supervised(job.skill, name)


def _smaller(
    job: Job, original: nn.Module
) -> tuple[nn.Module | None, list[Stage], list[tuple[int, float]]]:
    """Return the network that the recipe makes of the original, None where it changes nothing."""
    recipe = job.recipe.recipe
    aware = recipe.quantise.aware if recipe.quantise is not None else None
    if recipe.prune is None and recipe.finetune is None and aware is None:
        return None, [], []
    network, stages = shrink(job, original)
    log = TrainingLog()
    if recipe.quantise is not None and aware is not None:
        say(f"training with simulated quantisation for {aware.steps} steps")
        models = job.skill.models(network, job.data)
        peaks = input_peaks(network, models, network_inputs(job, network, recipe.quantise))
        state = job.output / AWARE_STATE
        chosen = recipe.quantise.model_dump(include={"calibration_images", "seed"})
        with simulate(network, peaks):
            log = train(
                supervised(job.skill, "quantise.aware"),
                network,
                job.data,
                aware,
                state,
                conditions={"calibration": chosen},
                save_every=job.save_every,
            )
    # From here on the network is the one of the file, so that the file is known to load.
    save_checkpoint(job.output / PRUNED, job.skill, network)
    return load_checkpoint(job.output / PRUNED, job.skill), stages, log.curve
