"""The page that a reader decides from: `report.html`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_compression.report_parts import begin_page, end_page, exact, percent
from edge_compression.report_pruning import add_layers, add_stages
from edge_compression.results import rows
from edge_compression.verdict import bundled, chosen, verdict
from edge_report.charts import bars_chart, latency_chart, pareto_chart
from edge_report.front import pareto_front
from edge_report.page import KeyFigure, Page, readable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_compression.results import CompressionReport, TensorError, Variant
    from edge_report.front import Better

HTML_FILE = "report.html"

_MOST_TENSORS = 40  # in a picture; the table has them all
_COSTS: dict[str, tuple[str, Callable[[Variant], float]]] = {
    "MACs": ("million MACs", lambda variant: variant.macs / 1e6),
    "bytes": ("KiB on disk", lambda variant: variant.bytes / 1024),
    "time": ("ms, median", lambda variant: variant.median),
}


def render(report: CompressionReport, path: Path) -> None:
    """Write the page: what to decide from, what was pruned and quantised, how it was made."""
    page = begin_page(
        path,
        report,
        "run",
        report.source.recipe,
        judged="the network as it came and what was made of it, on held-out data",
        verdict=verdict(report),
        figures=_key_figures(report),
    )
    page.notes += _notes(report)
    _add_variants(page, report)
    add_stages(page, report)
    add_layers(page, report)
    _add_quantisation(page, report)
    source: dict[str, object] = {
        "bundle": report.bundle_digest or "none was written",
        "checkpoint": report.source.checkpoint_sha256,
        "recipe": report.source.recipe_sha256,
        "calibration": report.source.calibration,
    }
    for name, difference in report.export_difference.items():
        source[f"{name}, torch against ONNX"] = f"{difference:.1e}"
    end_page(page, path, report, source)


def fronts(report: CompressionReport) -> dict[str, list[str]]:
    """Return for each cost the variants that no other one beats; rejected ones do not count."""
    rejected = _rejected(report)
    return {
        cost: pareto_front(
            {
                variant.name: (value(variant), variant.metric(report.primary_metric))
                for variant in report.variants
                if variant.name not in rejected
            },
            _better(report),
        )
        for cost, (_, value) in _COSTS.items()
    }


def _rejected(report: CompressionReport) -> set[str]:
    return {failure.variant for failure in report.failures}


def _better(report: CompressionReport) -> Better:
    return report.metrics[report.primary_metric].better


def _limit(report: CompressionReport) -> float | None:
    """Return the worst metric that the recipe accepts."""
    name = report.primary_metric
    if name not in report.limits:
        return None
    bounds = report.limits[name].bounds(report.variants[0].accuracy[name])
    return next((bound for bound in bounds if math.isfinite(bound)), None)


def _key_figures(report: CompressionReport) -> list[KeyFigure]:
    first, ours, limit = report.variants[0], chosen(report), _limit(report)
    accepted = "no limit" if limit is None else f"limit {exact(limit)}"
    sizes: list[tuple[str, Callable[[Variant], float]]] = [
        ("parameters", lambda variant: variant.parameters),
        *_COSTS.values(),
    ]
    return [
        KeyFigure(
            f"{report.primary_metric}, {ours.name}",
            exact(ours.metric(report.primary_metric)),
            f"{exact(first.accuracy[report.primary_metric])} before, {accepted}",
        ),
        *(KeyFigure(label, value(ours), _before(ours, first, value)) for label, value in sizes),
    ]


def _notes(report: CompressionReport) -> list[str]:
    names = ", ".join(variant.name for variant in bundled(report))
    ours = chosen(report).name
    notes = [
        f"In the bundle: {names}. The figures above are of {ours}."
        if names
        else f"No bundle was written. The figures above are of {ours}, the smallest that was tried."
    ]
    if apart := [variant.name for variant in report.variants if not variant.accuracy]:
        notes.append(f"Not evaluated, and under no limit: {', '.join(apart)}.")
    if report.macs_lost_to_input:
        notes.append(
            f"Of the MACs {percent(report.macs_lost_to_input)} are lost to the smaller input, "
            f"and {percent(report.macs_lost_to_pruning)} of the rest to pruning."
        )
    return notes


def _add_variants(page: Page, report: CompressionReport) -> None:
    for cost, (label, value) in _COSTS.items():
        chart = pareto_chart(
            {v.name: (value(v), v.metric(report.primary_metric)) for v in report.variants},
            label,
            report.primary_metric,
            better=_better(report),
            rejected=_rejected(report),
            limit=_limit(report),
        )
        page.picture(f"{report.primary_metric} against {cost}", chart)
    times = {v.name: v.latency_ms for v in report.variants if v.latency_ms}
    page.picture("Time of one frame or decision", latency_chart(times))
    page.table(
        "Variants",
        _rows(report),
        "MACs and time are of one frame or decision; all ran in ONNX Runtime here, in turns, "
        "but for TensorRT's, which are not timed. Best of: no other has less of it and no "
        f"worse {report.primary_metric}; dominated: for each of the three there is such another; "
        "rejected: not in the bundle, for the reason below.",
    )
    page.table("Tried and not in the bundle", [f.model_dump() for f in report.failures])
    if any(len(variant.accuracy) > 1 for variant in report.variants):
        page.table(
            "Every metric on held-out data",
            [
                {"variant": v.name, **{name: exact(x) for name, x in v.accuracy.items()}}
                for v in report.variants
            ],
        )


def _rows(report: CompressionReport) -> list[dict[str, object]]:
    inside = {variant.name for variant in bundled(report)}
    rejected = _rejected(report)
    best = fronts(report)
    return [
        {
            **row,
            report.primary_metric: exact(variant.metric(report.primary_metric)),
            "best of": "rejected"
            if variant.name in rejected
            else "not evaluated"
            if not variant.accuracy
            else ", ".join(cost for cost in best if variant.name in best[cost]) or "dominated",
            "in bundle": "no"
            if variant.name not in inside
            else "forced"
            if variant.name in report.forced
            else "yes",
        }
        for variant, row in zip(
            report.variants, rows(report.variants, report.primary_metric), strict=True
        )
    ]


def _before(variant: Variant, first: Variant, of: Callable[[Variant], float]) -> str:
    """Say what the first variant had, and how much less, or more, it is now."""
    share = 1 - of(variant) / of(first) if of(first) else 0.0
    change = f" ({percent(abs(share))} {'less' if share > 0 else 'more'})" if share else ""
    return f"{readable(of(first))} before{change}"


def _add_quantisation(page: Page, report: CompressionReport) -> None:
    for file, tensors in report.tensors.items():
        found = sorted(tensors, key=_badness)
        worst = [tensor for tensor in found if math.isfinite(tensor.sqnr_db)][:_MOST_TENSORS]
        if worst:
            page.picture(
                f"{file}: the {len(worst)} worst of {len(found)} tensors",
                bars_chart(
                    {f"{x.tensor}{' (float)' * x.kept_float}": {"": x.sqnr_db} for x in worst},
                    "signal to quantisation noise [dB]",
                    digits=".1f",
                ),
                "Over the calibration data.",
            )
        page.table(
            f"{file}: every tensor, worst first",
            [
                {
                    "tensor": tensor.tensor,
                    "low": tensor.low,
                    "high": tensor.high,
                    "SQNR [dB]": tensor.sqnr_db,
                    "kept in float": "yes" if tensor.kept_float else "",
                }
                for tensor in found
            ],
            folded=True,
        )


def _badness(tensor: TensorError) -> float:
    """Sort the worst first; what has no ratio was not harmed."""
    return math.inf if math.isnan(tensor.sqnr_db) else tensor.sqnr_db
