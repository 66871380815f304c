"""Which engines are good enough for the bundle, and the bundle of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_compression.job import TOOLS
from edge_compression.limits import over_limit
from edge_runtime.bundle import (
    EngineFile,
    Guard,
    GuardLimit,
    Manifest,
    Model,
    Source,
    write_bundle,
)
from edge_runtime.files import sha256, write_whole
from edge_runtime.host import provenance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_compression.job import Job
    from edge_compression.protocol import ExportModel
    from edge_compression.results import Variant
    from edge_compression.variants import Candidate
    from edge_runtime.bundle import Bundle

BUNDLE = "bundle"


def over_limits(job: Job, variants: Sequence[Variant]) -> dict[str, str]:
    """Say of each variant that was evaluated and misses the recipe's limits which ones."""
    limits, first = job.recipe.recipe.limits, variants[0]
    found = {
        variant.name: over_limit(limits, first.accuracy, variant.accuracy)
        for variant in variants[1:]
        if variant.accuracy
    }
    return {name: reasons for name, reasons in found.items() if reasons}


def make_bundle(
    job: Job,
    origin: Source,
    candidates: Sequence[Candidate],
    variants: Sequence[Variant],
    *,
    left_out: Mapping[str, str],
    forced: Mapping[str, str],
) -> Bundle | None:
    """Write the engines that are not left out; the other graphs stay in the output folder.

    The manifest names those that are `forced` in spite of the recipe's limits. Where no engine is
    left, nothing is written, an older bundle stays as it was, and the result is None.
    """
    shipped = [
        variant for variant in variants if variant.name not in left_out and not variant.is_original
    ]
    # A model that could not be quantised has its float graph in eight-bit variants, too.
    inside = {file for variant in shipped for file in variant.files}
    graphs = {}
    for graph in (each for candidate in candidates for each in candidate.graphs.values()):
        if graph.file in inside:
            graphs[graph.file] = graph.content
        else:
            (job.output / graph.file).parent.mkdir(parents=True, exist_ok=True)
            write_whole(job.output / graph.file, graph.content)
    if not shipped:
        return None
    recipe, notes = job.recipe.recipe, job.skill.bundle_settings(job.data)
    manifest = Manifest(
        skill=job.skill.name,
        name=recipe.name,
        models={
            name: _model(name, model, shipped) for name, model in candidates[-1].models.items()
        },
        names=list(notes.names),
        settings=dict(notes.settings),
        source=origin,
        guard=_guard(job, variants[0], [v for v in shipped if v.name in forced]),
        **provenance(*TOOLS),
    )
    return write_bundle(job.output / BUNDLE, manifest, graphs)


def _model(name: str, model: ExportModel, shipped: Sequence[Variant]) -> Model:
    engines: dict[str, EngineFile] = {}
    for variant in shipped:
        graph = variant.graphs[name]
        engine = EngineFile.model_validate(graph.model_dump(exclude={"file"}))
        engines.setdefault(graph.file, engine)
    return Model(
        inputs=list(model.inputs),
        outputs=list(model.outputs),
        engines=engines,
        examples=[
            {key: tuple(tensor.shape) for key, tensor in example.items()}
            for example in model.examples
        ],
        calls=model.calls,
    )


def _guard(job: Job, first: Variant, forced: Sequence[Variant]) -> Guard | None:
    limits = {
        name: (first.accuracy.get(name, math.nan), limit)
        for name, limit in job.recipe.recipe.limits.items()
    }
    if not limits:
        return None
    bounds = {name: limit.bounds(before) for name, (before, limit) in limits.items()}
    return Guard(
        limits=[
            GuardLimit(
                metric=name,
                of=before,
                at_least=None if limit.at_least is None else bounds[name][0],
                at_most=None if limit.at_most is None else bounds[name][1],
            )
            for name, (before, limit) in limits.items()
        ],
        forced=[file for variant in forced for file in variant.files],
    )


def source(job: Job) -> Source:
    """Describe what the run is made from, with the checkpoint's file as it is now."""
    how = job.recipe.recipe.quantise
    return Source(
        checkpoint_sha256=sha256(job.checkpoint),
        recipe=job.recipe.source,
        recipe_sha256=job.recipe.sha256,
        calibration="none"
        if how is None
        else f"{how.calibration_images} images of the recipe's data, seed {how.seed}, {how.method}",
    )
