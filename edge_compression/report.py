"""The page that a reader decides from: `report.html`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_compression import metrics
from edge_compression.report_parts import add_metrics, add_origin, exact, percent
from edge_compression.report_pruning import add_layers, add_stages
from edge_compression.verdict import allowed, bundled, chosen, verdict
from edge_report.front import pareto_front

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_compression.results import CompressionReport, TensorError, Variant
    from edge_report.page import Page

HTML_FILE = "report.html"

_MOST_TENSORS = 40  # in a picture; the table has them all
_COSTS: dict[str, tuple[str, Callable[[Variant], float]]] = {
    "MACs": ("million multiply-accumulates", lambda variant: variant.macs / 1e6),
    "bytes": ("KiB on disk", lambda variant: variant.bytes / 1024),
    "time": ("median of one run [ms]", lambda variant: variant.median),
}


def render(report: CompressionReport, path: Path) -> None:
    """Write the page: the table to decide from first, its pictures, then how it was made."""
    from edge_report.page import Page

    page = Page(f"{report.name}: compression", f"skill {report.skill}, {report.created}")
    _add_decision(page, report)
    _add_variants(page, report)
    add_stages(page, report)
    add_layers(page, report)
    _add_quantisation(page, report)
    differences: dict[str, object] = {
        f"{name}, torch against ONNX": f"{difference:.1e}"
        for name, difference in report.export_difference.items()
    }
    bundle = report.bundle_digest or "none was written"
    add_origin(page, report, {"bundle": bundle, **differences})
    page.write(path)


def fronts(report: CompressionReport) -> dict[str, list[str]]:
    """Return for each cost the variants that no other one beats; rejected ones do not count."""
    rejected = _rejected(report)
    return {
        cost: pareto_front(
            {
                variant.name: (
                    value(variant),
                    _score(report, variant.accuracy[report.primary_metric]),
                )
                for variant in report.variants
                if variant.name not in rejected
            }
        )
        for cost, (_, value) in _COSTS.items()
    }


def _rejected(report: CompressionReport) -> set[str]:
    return {failure.variant for failure in report.failures}


def _loss(report: CompressionReport, variant: Variant) -> float:
    name = report.primary_metric
    before, after = report.variants[0].accuracy[name], variant.accuracy[name]
    return metrics.loss(report.metrics[name], before, after)


def _score(report: CompressionReport, value: float) -> float:
    return metrics.score(report.metrics[report.primary_metric], value)


def _add_decision(page: Page, report: CompressionReport) -> None:
    inside = bundled(report)
    first, ours = report.variants[0], chosen(report)
    page.text(f"{verdict(report)}.")
    page.tiles(
        {
            f"{report.primary_metric}, {ours.name}": exact(ours.accuracy[report.primary_metric]),
            f"of {report.primary_metric} lost": exact(_loss(report, ours)),
            "of the parameters lost": percent(1 - ours.parameters / first.parameters),
            "of the MACs lost": percent(1 - ours.macs / first.macs),
            "of the bytes lost": percent(1 - ours.bytes / first.bytes),
            "times as fast": _number(first.median / ours.median),
        }
    )
    within = f" The recipe has {allowed(report)}."
    if inside:
        names = ", ".join(variant.name for variant in inside)
        page.text(f"In the bundle: {names}. The figures above are of {ours.name}.{within}")
    else:
        page.text(
            f"No bundle was written.{within} The figures above are of the smallest that was tried."
        )
    if report.macs_lost_to_input:
        page.text(
            f"Of the MACs {percent(report.macs_lost_to_input)} are lost to the smaller input, "
            f"and {percent(report.macs_lost_to_pruning)} of the rest to pruning."
        )


def _add_variants(page: Page, report: CompressionReport) -> None:
    from edge_report.charts import latency_chart
    from edge_report.pareto import pareto_chart

    page.section("Variants")
    page.table(
        "All in ONNX Runtime on this host, timed in turns, but for TensorRT's, which are not timed "
        "here; MACs and time of one run; in brackets the share that is lost of the first's. Best "
        "of: no other has less of it at no lower accuracy; dominated: for each of the three there "
        "is such another; rejected: not in the bundle, for the reason below",
        _rows(report),
    )
    if report.failures:
        page.table("Tried and not in the bundle", [f.model_dump() for f in report.failures])
    rejected = _rejected(report)
    name = report.primary_metric
    limit = None
    if name in report.limits:
        bounds = report.limits[name].bounds(report.variants[0].accuracy[name])
        limit = next((bound for bound in bounds if math.isfinite(bound)), None)
    for cost, (label, value) in _COSTS.items():
        page.figure(
            f"{report.primary_metric} on held-out data against {cost}",
            pareto_chart(
                {v.name: (value(v), v.accuracy[report.primary_metric]) for v in report.variants},
                label,
                report.primary_metric,
                rejected=rejected,
                limit=limit,
            ),
        )
    page.figure(
        "One run of the network; bars reach to the median",
        latency_chart({v.name: v.latency_ms for v in report.variants if v.latency_ms}),
    )
    if any(len(variant.accuracy) > 1 for variant in report.variants):
        page.table(
            "Every metric on held-out data",
            [
                {"variant": v.name, **{name: exact(x) for name, x in v.accuracy.items()}}
                for v in report.variants
            ],
        )
    add_metrics(page, report)


def _rows(report: CompressionReport) -> list[dict[str, object]]:
    first = report.variants[0]
    inside = {variant.name for variant in bundled(report)}
    rejected = _rejected(report)
    best = fronts(report)
    return [
        {
            "variant": variant.name,
            report.primary_metric: exact(variant.accuracy[report.primary_metric]),
            "lost": exact(_loss(report, variant)),
            "parameters": _changed(variant.parameters, first.parameters, ",.0f"),
            "MMAC": _changed(variant.macs / 1e6, first.macs / 1e6, ",.2f"),
            "KiB": _changed(variant.bytes / 1024, first.bytes / 1024, ",.1f"),
            "p50 ms": _changed(variant.median, first.median, ",.2f"),
            "best of": "rejected"
            if variant.name in rejected
            else ", ".join(cost for cost in best if variant.name in best[cost]) or "dominated",
            "in bundle": "no"
            if variant.name not in inside
            else "forced"
            if variant.name in report.forced
            else "yes",
        }
        for variant in report.variants
    ]


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"


def _changed(value: float, before: float, digits: str) -> str:
    if math.isnan(value):
        return "-"
    if value == before or not before:
        return format(value, digits)
    share = 1 - value / before
    change = f"{percent(share)} lost" if share > 0 else f"{percent(-share)} more"
    return f"{value:{digits}} ({change})"


def _add_quantisation(page: Page, report: CompressionReport) -> None:
    from edge_report.charts import curve_chart
    from edge_report.ranges import Range, ranges_chart

    tensors = {file: sorted(found, key=_badness) for file, found in report.tensors.items() if found}
    if not tensors and not report.aware_curve:
        return
    page.section("Quantisation")
    if report.aware_curve:
        steps, losses = zip(*report.aware_curve, strict=True)
        page.figure(
            "Training with simulated quantisation",
            curve_chart({"loss": (steps, losses)}, "step", "mean loss"),
        )
    for file, found in tensors.items():
        worst = found[:_MOST_TENSORS]
        page.figure(
            f"{file}: the worst {len(worst)} of {len(found)} tensors, their ranges over the "
            "calibration images and their signal to quantisation noise",
            ranges_chart({x.tensor: Range(x.low, x.high, x.sqnr_db, x.kept_float) for x in worst}),
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
