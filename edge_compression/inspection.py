"""`compress inspect`: what a bundle or a checkpoint holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_compression.console import show, show_facts, show_json, show_table
from edge_compression.protocol import CompressibleSkill
from edge_compression.report_parts import explained
from edge_runtime.bundle import load_bundle
from edge_runtime.errors import SettingError
from edge_runtime.files import sha256
from edge_runtime.skills import load_skill
from edge_runtime.weights import described

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.bundle import Bundle, Guard, GuardLimit, Manifest, TensorSpec
    from edge_runtime.findings import Plan


def inspect_bundle(path: Path, *, as_json: bool) -> None:
    """Check the bundle's files and print its manifest."""
    bundle = load_bundle(path)
    if as_json:
        show_json({"digest": bundle.digest, **bundle.manifest.model_dump(mode="json")})
        return
    manifest, old = bundle.manifest, bundle.old_findings
    show_facts(
        {
            "bundle": manifest.name,
            "skill": manifest.skill,
            "digest": bundle.digest,
            "created": manifest.created,
            "names": ", ".join(manifest.names),
            **_models(manifest),
            **{f"setting {key}": value for key, value in manifest.settings.items()},
            **_guard(manifest.guard),
            "checkpoint": manifest.source.checkpoint_sha256,
            "recipe": manifest.source.recipe_sha256,
            "calibration": manifest.source.calibration,
            "host": ", ".join(manifest.host.values()),
            "tools": ", ".join(f"{name} {version}" for name, version in manifest.tools.items()),
            **{f"plan {name}": _plan(plan) for name, plan in old.plans.items()},
            **{
                f"choice on {processor}": f"{choice.file}, by {choice.library}"
                for processor, choice in old.choices.items()
            },
        }
    )
    show("")
    show_table(_engines(bundle))
    if described_metrics := _metrics(bundle):
        show("")
        show_facts(described_metrics)


def inspect_checkpoint(path: Path, *, as_json: bool) -> None:
    """Print the description and the tensors of a checkpoint or of a training's state."""
    from torch import Tensor

    from edge_compression.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(path)
    tensors: list[dict[str, Any]] = [
        {"tensor": name, "shape": described(value), "values": value.numel()}
        if isinstance(value, Tensor)
        else {"tensor": name, "shape": f"no tensor but {type(value).__name__}", "values": 0}
        for name, value in checkpoint["state"].items()
    ]
    facts: dict[str, Any] = {
        "skill": checkpoint.get("skill", ""),
        "network": checkpoint["network"],
        "values": sum(row["values"] for row in tensors),
        "sha256": sha256(path),
    }
    if checkpoint.get("opened"):
        facts["weights under"] = checkpoint["opened"]
    if "step" in checkpoint:
        facts["steps trained"] = checkpoint["step"]
    if as_json:
        show_json({**facts, "tensors": tensors})
        return
    show_facts({"checkpoint": path, **facts})
    show("")
    show_table(tensors)


def _models(manifest: Manifest) -> dict[str, str]:
    """Describe every model's interface."""
    facts = {"models": ", ".join(manifest.models)}
    for name, model in manifest.models.items():
        of = f" of {name}" if len(manifest.models) > 1 else ""
        facts |= {f"input {spec.name}{of}": _describe(spec) for spec in model.inputs}
        facts |= {f"output {spec.name}{of}": _describe(spec) for spec in model.outputs}
        facts[f"{name} runs"] = f"{model.calls:g} times for a frame or decision"
    return facts


def _engines(bundle: Bundle) -> list[dict[str, object]]:
    return [
        {
            "engine": file,
            "precision": engine.precision,
            "parameters": engine.parameters,
            "MMAC": round(engine.macs / 1e6, 2),
            "bytes": engine.bytes,
            **{name: round(value, 4) for name, value in engine.accuracy.items()},
            **{f"{name} ms": round(value, 2) for name, value in engine.latency_ms.items()},
        }
        for file, engine in bundle.manifest.engines.items()
    ]


def _metrics(bundle: Bundle) -> dict[str, str]:
    """Return what the skill, if it is installed, says of the metrics in the table."""
    try:
        skill = load_skill(bundle.manifest.skill)
    except SettingError:
        return {}
    if not isinstance(skill, CompressibleSkill):
        return {}
    shown = {name for engine in bundle.manifest.engines.values() for name in engine.accuracy}
    return {name: explained(metric) for name, metric in skill.metrics.items() if name in shown}


def _guard(guard: Guard | None) -> dict[str, object]:
    if guard is None:
        return {}
    limits = {f"limit of {limit.metric}": _limit(limit) for limit in guard.limits}
    return {**limits, "forced": ", ".join(guard.forced) or "none"}


def _limit(limit: GuardLimit) -> str:
    bounds = {"at least": limit.at_least, "at most": limit.at_most}
    said = [f"{word} {bound:.4f}" for word, bound in bounds.items() if bound is not None]
    return f"{' and '.join(said)}, {limit.of:.4f} it was"


def _plan(plan: Plan) -> str:
    times = ", ".join(f"{name} {value:.2f} ms" for name, value in plan.latency_ms.items())
    return f"of {plan.graph}, {plan.precision}, {times or 'not timed'}"


def _describe(spec: TensorSpec) -> str:
    shape = ", ".join(str(size) for size in spec.shape)
    details = [spec.layout, spec.colour_order]
    if spec.scale is not None:
        details.append(f"x {spec.scale:.6g}, less {spec.mean}, by {spec.std}")
    return " ".join([f"{spec.dtype} ({shape})", *(detail for detail in details if detail)])
