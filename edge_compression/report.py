"""The page that a reader decides from: `report.html`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_compression.results import rows

if TYPE_CHECKING:
    from pathlib import Path

    from edge_compression.results import CompressionReport

HTML_FILE = "report.html"


def render(report: CompressionReport, path: Path) -> None:
    """Write the page: the table to decide from first, its pictures, then how it was made."""
    from edge_report.charts import bars_chart, curve_chart, latency_chart
    from edge_report.page import Page

    first, last = report.variants[0], report.variants[-1]
    page = Page(f"{report.name}: compression", f"skill {report.skill}, {report.created}")
    page.tiles(
        {
            report.headline: round(last.accuracy[report.headline], 4),
            "of the parameters": f"{100 * last.parameters / first.parameters:.1f} %",
            "of the MACs": f"{100 * last.macs / first.macs:.1f} %",
            "of the bytes": f"{100 * last.bytes / first.bytes:.1f} %",
            "of the time": f"{100 * last.latency_ms['p50'] / first.latency_ms['p50']:.1f} %",
        }
    )
    page.section("Variants")
    page.table(
        "All in ONNX Runtime on this host, timed in turns; MACs and time of one run",
        rows(report.variants, report.headline),
    )
    page.figure(
        "Accuracy on held-out data",
        bars_chart({v.name: _shares(v.accuracy) for v in report.variants}, "share"),
    )
    page.figure(
        "One run of the network",
        latency_chart({v.name: v.latency_ms for v in report.variants}),
    )
    page.table(
        "Every metric", [{"variant": v.name, **_rounded(v.accuracy)} for v in report.variants]
    )
    if any(layer.before != layer.after for layer in report.layers):
        page.section("Pruning")
        page.figure(
            "Filters of every layer",
            bars_chart(
                {
                    layer.layer: {"before": layer.before, "after": layer.after}
                    for layer in report.layers
                },
                "filters",
            ),
        )
        page.table(
            "A layer that is tied to another keeps the same filters",
            [layer.model_dump() for layer in report.layers],
        )
    if report.curve:
        page.section("Fine-tuning")
        steps = [step for step, _ in report.curve]
        losses = [loss for _, loss in report.curve]
        page.figure(
            f"Loss over {report.tuning_seconds:.0f} s of training",
            curve_chart({"loss": (steps, losses)}, "step", "mean loss"),
        )
    page.section("How it was made")
    page.facts(
        {
            "bundle": report.bundle_digest,
            "checkpoint": report.source.checkpoint_sha256,
            "recipe": report.source.recipe_sha256,
            "calibration": report.source.calibration,
            **{
                f"{name}, torch against ONNX": f"{difference:.1e}"
                for name, difference in report.export_difference.items()
            },
        }
    )
    page.facts(_flat(report.source.recipe))
    page.facts({**report.host, **report.tools})
    page.write(path)


def _shares(accuracy: dict[str, float]) -> dict[str, float]:
    """Leave out metrics that are no shares, such as errors in pixels."""
    return {name: value for name, value in accuracy.items() if 0 <= value <= 1}


def _rounded(values: dict[str, float]) -> dict[str, object]:
    return {name: round(value, 4) for name, value in values.items()}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
