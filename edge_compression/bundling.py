"""Which engines are good enough for the bundle, and the bundle of them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from edge_compression.job import TOOLS
from edge_compression.results import UNPRUNED
from edge_runtime.bundle import EngineFile, Guard, Manifest, Model, Source, write_bundle
from edge_runtime.files import sha256, write_whole
from edge_runtime.host import describe_host, tool_versions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_compression.job import Job
    from edge_compression.results import Variant
    from edge_compression.variants import Candidate
    from edge_runtime.bundle import Bundle

BUNDLE = "bundle"


def losers(job: Job, variants: Sequence[Variant]) -> dict[str, str]:
    """Say of each variant that loses more than the recipe allows how much it loses."""
    limit = job.recipe.recipe.max_drop
    if limit is None:
        return {}
    first, headline = variants[0], job.skill.headline
    reasons = {}
    for variant in variants[1:]:
        drop = first.accuracy[headline] - variant.accuracy[headline]
        if not drop <= limit:  # which also holds where there is no number
            reasons[variant.name] = (
                f"loses {drop:.4f} of {headline} against {first.name}; max_drop is {limit:g}"
            )
    return reasons


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

    The manifest names those that are `forced` in spite of the recipe's limit. Where no engine is
    left, nothing is written, an older bundle stays as it was, and the result is None.
    """
    graphs = {}
    for candidate in candidates:
        if candidate.name in left_out or candidate.file == UNPRUNED:
            (job.output / candidate.file).parent.mkdir(exist_ok=True)
            write_whole(job.output / candidate.file, candidate.graph)
        else:
            graphs[candidate.file] = candidate.graph
    if not graphs:
        return None
    recipe = job.recipe.recipe
    guard = None
    if recipe.max_drop is not None:
        guard = Guard(
            metric=job.skill.headline,
            of=variants[0].accuracy[job.skill.headline],
            max_drop=recipe.max_drop,
            forced=[v.file for v in variants if v.name in forced and v.file in graphs],
        )
    interface = job.skill.interface(job.data)
    example = job.skill.example_inputs(job.data)
    model = Model(
        inputs=list(interface.inputs),
        outputs=list(interface.outputs),
        engines={
            variant.file: EngineFile.model_validate(variant.model_dump(exclude={"name", "file"}))
            for variant in variants
            if variant.file in graphs
        },
        examples=[{name: tuple(tensor.shape) for name, tensor in example.items()}],
    )
    manifest = Manifest(
        skill=job.skill.name,
        name=recipe.name,
        models={job.skill.name: model},
        names=list(interface.names),
        settings=dict(interface.settings),
        source=origin,
        guard=guard,
        tools=tool_versions(*TOOLS),
        host=describe_host(),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    return write_bundle(job.output / BUNDLE, manifest, graphs)


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
