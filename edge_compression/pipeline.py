"""`compress run`: checkpoint in, bundle and report out."""

from __future__ import annotations

import copy
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from edge_compression.checkpoint import load_checkpoint, save_checkpoint
from edge_compression.console import say
from edge_compression.export import check_against_torch, export
from edge_compression.job import TOOLS
from edge_compression.pruning import prune
from edge_compression.quantisation import calibration_images, quantise
from edge_compression.report import HTML_FILE, render
from edge_compression.results import JSON_FILE, CompressionReport
from edge_compression.training import TrainingLog, train
from edge_compression.variants import Candidate, measure_variants
from edge_runtime.bundle import Bundle, EngineFile, Manifest, Source, write_bundle
from edge_runtime.errors import SettingError
from edge_runtime.files import sha256, write_whole
from edge_runtime.host import describe_host, tool_versions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn

    from edge_compression.job import Job
    from edge_compression.protocol import Interface
    from edge_compression.recipe import Recipe
    from edge_compression.results import PrunedLayer, Variant

BUNDLE = "bundle"
FP32 = "fp32.onnx"
INT8 = "cpu.onnx"
UNPRUNED = "unpruned.onnx"
PRUNED = "pruned.pt"
STATE = "finetune_state.pt"


def compress(job: Job) -> CompressionReport:
    """Prune, fine-tune, export, quantise, measure; write bundle, report and checkpoint.

    The output folder gets `bundle/`, `report.json`, `report.html`; where the network is changed
    also `pruned.pt`, `unpruned.onnx`, and `finetune_state.pt`, from which a run that was cut off
    goes on.

    Raises:
        SuiteError: a setting, the checkpoint or the data is refused, or an exported graph is
            wrong. An older bundle in the folder stays whole.
    """
    checkpoint = _checkpoint(job)
    original = load_checkpoint(checkpoint, job.skill)
    interface = job.skill.interface(job.data)
    smaller, layers, log = _shrink(job, original)
    candidates, differences = _export(job, interface, original, smaller)
    say(f"measuring {', '.join(candidate.name for candidate in candidates)}")
    variants = measure_variants(job.skill, job.data, candidates)
    bundle = _write_bundle(job, checkpoint, interface, candidates, variants)
    manifest = bundle.manifest
    report = CompressionReport(
        skill=manifest.skill,
        name=manifest.name,
        created=manifest.created,
        headline=job.skill.headline,
        variants=variants,
        layers=layers,
        curve=log.curve,
        tuning_seconds=log.seconds,
        export_difference=differences,
        source=manifest.source,
        bundle_digest=bundle.digest,
        tools=manifest.tools,
        host=manifest.host,
    )
    write_whole(job.output / JSON_FILE, report.model_dump_json(indent=2))
    render(report, job.output / HTML_FILE)
    return report


def _checkpoint(job: Job) -> Path:
    path = job.recipe.recipe.checkpoint
    if path is None:
        message = (
            f"recipe '{job.recipe.path}' names no checkpoint: train one with `compress train` "
            "and add `checkpoint: PATH`"
        )
        raise SettingError(message)
    return path


def _changes(recipe: Recipe) -> bool:
    """Tell whether the recipe makes another network than the checkpoint's."""
    return recipe.prune is not None or recipe.finetune is not None


def _shrink(job: Job, original: nn.Module) -> tuple[nn.Module, list[PrunedLayer], TrainingLog]:
    recipe = job.recipe.recipe
    network, log = copy.deepcopy(original), TrainingLog()
    layers: list[PrunedLayer] = []
    if recipe.prune is not None:
        say(f"pruning {recipe.prune.rate:.2%} of the {recipe.prune.of}")
        network, layers = prune(job.skill, network, job.data, recipe.prune)
    if recipe.finetune is not None:
        say(f"fine-tuning for {recipe.finetune.steps} steps")
        state = job.output / STATE
        log = train(job.skill, network, job.data, recipe.finetune, state, save_every=job.save_every)
    if _changes(recipe):
        # From here on the network is the one of the file, so that the file is known to load.
        save_checkpoint(job.output / PRUNED, job.skill, network)
        network = load_checkpoint(job.output / PRUNED, job.skill)
    return network, layers, log


def _export(
    job: Job, interface: Interface, original: nn.Module, smaller: nn.Module
) -> tuple[list[Candidate], dict[str, float]]:
    """Return what is compared, the network as it came first, and each graph's error."""
    recipe = job.recipe.recipe
    inputs = job.skill.example_inputs(job.data)
    networks = [("fp32", FP32, original)]
    if _changes(recipe):
        change = "pruned" if recipe.prune is not None else "tuned"
        networks = [("original fp32", UNPRUNED, original), (f"{change} fp32", FP32, smaller)]
    candidates, differences = [], {}
    for name, file, network in networks:
        say(f"exporting {name}")
        graph = export(network, inputs, interface)
        differences[name] = check_against_torch(graph, network, inputs, interface)
        candidates.append(Candidate(name, file, "fp32", graph, network))
    if recipe.quantise is not None:
        say(f"quantising with {recipe.quantise.calibration_images} images")
        images = calibration_images(job.skill, job.data, recipe.quantise, list(inputs))
        last = candidates[-1]
        graph = quantise(last.graph, images, recipe.quantise)
        name = last.name.replace("fp32", "int8")
        candidates.append(Candidate(name, INT8, "int8", graph, last.network))
    return candidates, differences


def _write_bundle(
    job: Job,
    checkpoint: Path,
    interface: Interface,
    candidates: Sequence[Candidate],
    variants: Sequence[Variant],
) -> Bundle:
    recipe = job.recipe.recipe
    shipped = {candidate.file: candidate.graph for candidate in candidates}
    original = shipped.pop(UNPRUNED, None)
    if original is not None:
        write_whole(job.output / UNPRUNED, original)
    engines = {
        variant.file: EngineFile.model_validate(variant.model_dump(exclude={"name", "file"}))
        for variant in variants
        if variant.file in shipped
    }
    calibration = "none"
    if recipe.quantise is not None:
        how = recipe.quantise
        calibration = (
            f"{how.calibration_images} images of the recipe's data, seed {how.seed}, {how.method}"
        )
    manifest = Manifest(
        skill=job.skill.name,
        name=recipe.name,
        inputs=list(interface.inputs),
        outputs=list(interface.outputs),
        names=list(interface.names),
        settings=dict(interface.settings),
        engines=engines,
        source=Source(
            checkpoint_sha256=sha256(checkpoint),
            recipe=job.recipe.source,
            recipe_sha256=job.recipe.sha256,
            calibration=calibration,
        ),
        tools=tool_versions(*TOOLS),
        host=describe_host(),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    return write_bundle(job.output / BUNDLE, manifest, shipped)
